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

// A Go program cannot fork, because the child would have only one of its threads. So -d starts the program again, in a new session, and reads its
// reports from a pipe: the lines that a foreground server prints while it starts and then, when it listens, a byte that no line contains. If the
// pipe ends without this byte, the start has failed.
const (
	daemonEnv  = "EVCACHED_DAEMON" // marks the process as the child
	reportFD   = 3                 // the pipe, in the child
	listens    = '\x06'
	rootFolder = "/"
)

// detach starts the child and waits until it listens or has ended. It copies the lines of the child to stderr. If the child has ended, the error
// has its exit status.
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
	if s.config.Verbosity > 0 { // otherwise it does not log
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	}
	if err := errors.Join(cmd.Start(), theirs.Close()); err != nil { // the child has the only copy left: the pipe ends when it exits
		return system("-d: %w", err)
	}
	lines, err := io.ReadAll(report)
	if err != nil {
		return system("-d: read from the new process: %w", err)
	}
	lines, up := bytes.CutSuffix(lines, []byte{listens})
	if _, err := stderr.Write(lines); err != nil {
		return system("-d: %w", err)
	}
	if up {
		return cmd.Process.Release()
	}
	return ended(cmd.Wait())
}

// ended returns the failure for a child that has ended before it listened. A child that exits by itself has printed a message.
func ended(err error) error {
	if err == nil {
		return system("-d: the new process was stopped before it listened")
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return &failure{exit.ExitCode(), errPrinted}
	}
	return system("-d: the new process ended before it listened: %w", err)
}

// reporter is the child's end of the pipe, which is its standard error until it listens.
type reporter struct {
	mu   sync.Mutex // guards pipe
	pipe *os.File   // nil when it listens
}

// inherit returns the reporter of a process that detach has started, or nil in any other.
func inherit() *reporter {
	if os.Getenv(daemonEnv) == "" {
		return nil
	}
	_ = os.Unsetenv(daemonEnv) // fails for a name without letters
	syscall.CloseOnExec(reportFD)
	return &reporter{pipe: os.NewFile(reportFD, "report")}
}

// Write writes p to the pipe or, after ready, to standard error.
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
		return system("-d: report to the parent process: %w", err)
	}
	return nil
}
