//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// run runs the program with the arguments, and returns its exit status.
func run(args []string, stdout, stderr io.Writer) int {
	child := inherit()
	if child != nil { // the parent has printed the warnings
		stderr = child
	}
	s, err := configure(args)
	switch {
	case errors.Is(err, errHelp):
		err = help(stdout)
	case errors.Is(err, errVersion):
		_, err = fmt.Fprintln(stdout, version())
	case errors.Is(err, errLicense):
		_, err = io.WriteString(stdout, license)
	case err != nil:
	case child != nil:
		err = serve(s, stderr, child.ready)
	default:
		for _, text := range s.warnings {
			printLine(stderr, "evcached: warning: "+text)
		}
		if s.daemon {
			err = detach(s, stderr)
		} else {
			err = serve(s, stderr, func() error { return nil })
		}
	}
	if err != nil && !errors.Is(err, errPrinted) {
		printLine(stderr, "evcached: "+err.Error())
	}
	return status(err)
}

// configure returns the settings of the command line and the environment.
func configure(args []string) (*settings, error) {
	passed, err := takePassed()
	if err != nil {
		return nil, err
	}
	notify, err := takeNotifier()
	if err != nil {
		return nil, err
	}
	s, err := parse(args, passed)
	switch {
	case errors.Is(err, errHelp), errors.Is(err, errVersion), errors.Is(err, errLicense):
		return nil, err
	case err != nil:
		return nil, fail(status(err), "%w; see evcached --help", err)
	}
	s.notify = notify
	return s, nil
}

// errPrinted is the error of a failure whose message has been printed.
var errPrinted = errors.New("the message has been printed")

// printLine prints a line, and waits for this at most logTimeout: standard error may be a pipe that is not read.
func printLine(w io.Writer, line string) {
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		_, _ = fmt.Fprintln(w, line) // an error could be reported nowhere else
	}()
	select {
	case <-printed:
	case <-time.After(logTimeout):
	}
}
