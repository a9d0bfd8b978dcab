//go:build linux

package main

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

// A target is a server that is measured.
type target struct {
	name string
	addr string
	pid  int // 0: unknown
	cmd  *exec.Cmd
	end  chan struct{} // closed when the process has ended
}

func (t *target) String() string {
	if t.name == "" {
		return t.addr
	}
	return t.name
}

// startAll starts the servers of the arguments NAME=COMMAND. It returns those that it has started also with an error.
func startAll(args []string) (all []*target, err error) {
	for _, arg := range args {
		name, command, ok := strings.Cut(arg, "=")
		if !ok || name == "" || !strings.Contains(command, "{port}") {
			return all, fmt.Errorf("%q is not of the form NAME=COMMAND with {port}", arg)
		}
		t, err := start(name, command)
		if t != nil {
			all = append(all, t)
		}
		if err != nil {
			return all, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}

// start starts a server and waits until it accepts connections. The command has words, and no quotes. The server is killed when the calling thread
// ends.
func start(name, command string) (*target, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	words := strings.Fields(strings.ReplaceAll(command, "{port}", strconv.Itoa(port)))
	t := &target{name: name, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), end: make(chan struct{})}
	t.cmd = exec.Command(words[0], words[1:]...)
	t.cmd.Stderr = os.Stderr
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	t.pid = t.cmd.Process.Pid
	go func() {
		_ = t.cmd.Wait() // the state of the process has the result
		close(t.end)
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.DialTimeout("tcp", t.addr, time.Second)
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

// stopAll ends the servers.
func stopAll(all []*target) (err error) {
	for _, t := range all {
		if e := t.cmd.Process.Kill(); !errors.Is(e, os.ErrProcessDone) {
			err = errors.Join(err, e)
		}
		<-t.end
	}
	return err
}
