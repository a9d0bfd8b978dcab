//go:build linux

// Package target starts the servers that are measured, from the arguments NAME=COMMAND of a program.
package target

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Target is a server that is measured.
type Target struct {
	Name string
	Addr string
	PID  int // 0: unknown
	cmd  *exec.Cmd
	end  chan struct{} // closed when the process has ended
}

// String returns the name of the server, or its address if it has none.
func (t *Target) String() string {
	if t.Name == "" {
		return t.Addr
	}
	return t.Name
}

// StartAll starts the servers of the arguments NAME=COMMAND, in which {port} stands for a free port. It returns those that it has started also with an
// error. They are killed when the calling thread ends.
func StartAll(args []string) (all []*Target, err error) {
	for _, arg := range args {
		t, err := Start(arg)
		if t != nil {
			all = append(all, t)
		}
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// Start starts the server of an argument, as StartAll does.
func Start(arg string) (*Target, error) {
	name, command, ok := strings.Cut(arg, "=")
	if !ok || name == "" || !strings.Contains(command, "{port}") {
		return nil, fmt.Errorf("%q is not of the form NAME=COMMAND with {port}", arg)
	}
	t, err := start(name, command)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return t, err
}

// start waits until the server accepts connections. The command has words, and no quotes.
func start(name, command string) (*Target, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	words := strings.Fields(strings.ReplaceAll(command, "{port}", strconv.Itoa(port)))
	t := &Target{Name: name, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), end: make(chan struct{})}
	t.cmd = exec.Command(words[0], words[1:]...)
	t.cmd.Stderr = os.Stderr
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	t.PID = t.cmd.Process.Pid
	go func() {
		_ = t.cmd.Wait() // the state of the process has the result
		close(t.end)
	}()
	for deadline := time.Now().Add(time.Minute); ; { // on a loaded machine a program may take long to start
		c, err := net.DialTimeout("tcp", t.Addr, time.Second)
		if err == nil {
			return t, c.Close()
		}
		if time.Now().After(deadline) {
			return t, err
		}
		select {
		case <-t.end:
			return t, fmt.Errorf("%q has ended: %v", words, t.cmd.ProcessState)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// freePort returns a port of the loopback address that was free.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close()
}

// StopAll ends the servers that were started.
func StopAll(all []*Target) (err error) {
	for _, t := range all {
		if e := t.cmd.Process.Kill(); !errors.Is(e, os.ErrProcessDone) {
			err = errors.Join(err, e)
		}
		<-t.end
	}
	return err
}
