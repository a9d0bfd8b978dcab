//go:build linux || darwin || freebsd

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// A Go program cannot fork, since the child would have one of its threads. So -d starts the program again, in a session of its own, and
// waits for what it reports: through a pipe come the lines that a foreground server prints while it starts, and then, if it
// listens, a byte that no line has. A pipe that ends without that is a server that has not come up.
const (
	daemonEnv  = "EVCACHED_DAEMON" // marks the process as the child
	reportFD   = 3                 // the pipe, in the child
	listens    = '\x06'
	rootFolder = "/"
)

// detach starts the child, and returns when it listens, or with the status that it ended with. What it printed is on stderr then.
func detach(s *settings, stderr io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return system("-d: %w", err)
	}
	report, theirs, err := os.Pipe()
	if err != nil {
		return system("-d: %w", err)
	}
	defer func() { _ = report.Close() }() // it was read to its end
	cmd := exec.Command(program, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), daemonEnv+"=1")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.config.Verbosity > 0 { // otherwise it has nothing to log
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	}
	if err := errors.Join(cmd.Start(), theirs.Close()); err != nil { // ours is closed: the pipe ends with the child
		return system("-d: %w", err)
	}
	said, err := io.ReadAll(report)
	if err != nil {
		return system("-d: hear from the new process: %w", err)
	}
	said, up := bytes.CutSuffix(said, []byte{listens})
	if _, err := stderr.Write(said); err != nil {
		return system("-d: %w", err)
	}
	if up {
		return cmd.Process.Release()
	}
	return ended(cmd.Wait())
}

// ended is the failure of a child that did not come up. A status of its own came with a message, which has been printed.
func ended(err error) error {
	if err == nil {
		return system("-d: the new process was stopped before it listened")
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return &failure{exit.ExitCode(), errTold}
	}
	return system("-d: the new process ended before it listened: %w", err)
}

// reporter is the child's end of the pipe: its standard error until it listens.
type reporter struct {
	mu   sync.Mutex
	pipe *os.File // nil from then on
}

// inherit is the reporter of a process that detach has started, nil in any other.
func inherit() *reporter {
	if os.Getenv(daemonEnv) == "" {
		return nil
	}
	_ = os.Unsetenv(daemonEnv) // fails for a name without letters
	syscall.CloseOnExec(reportFD)
	return &reporter{pipe: os.NewFile(reportFD, "report")}
}

// Write gives p to the parent; once that is gone, to standard error.
func (r *reporter) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pipe == nil {
		return os.Stderr.Write(p)
	}
	return r.pipe.Write(p)
}

// ready lets the parent exit, and changes to the root directory, so that the file system of the former one can be unmounted.
func (r *reporter) ready() error {
	if err := os.Chdir(rootFolder); err != nil {
		return system("-d: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.pipe.Write([]byte{listens})
	err = errors.Join(err, r.pipe.Close())
	r.pipe = nil
	if err != nil {
		return system("-d: tell the parent: %w", err)
	}
	return nil
}
