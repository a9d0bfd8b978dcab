//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// program is a cache server's program.
type program struct {
	name, path string
	args       []string
}

// server is a running program.
type server struct {
	cmd    *exec.Cmd
	addr   string
	ended  chan error
	output bytes.Buffer
}

// start starts a program with -m memory on a free port of the loopback address, and waits until it answers. It tries up to three ports, since
// another process may open the port first.
func (p program) start(ctx context.Context, memory int) (*server, error) {
	var err error
	for range 3 {
		var s *server
		if s, err = p.startOnce(ctx, memory); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func (p program) startOnce(ctx context.Context, memory int) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := []string{"-l", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "0", "-m", strconv.Itoa(memory)}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	s := &server{cmd: exec.Command(p.path, append(args, p.args...)...), addr: fmt.Sprintf("127.0.0.1:%d", port), ended: make(chan error, 1)}
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.cmd.Wait() }()
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w\n%s", s.cmd, err, s.output.Bytes()), s.stop())
	}
	return s, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// await waits until the server answers, at most ten seconds. It is an error if another process has the port.
func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			return errors.Join(s.identify(c), c.Close())
		}
		select {
		case end := <-s.ended:
			s.ended <- end
			return fmt.Errorf("process has ended: %w", end)
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// identify asks the server at the other end of c for its process, which must be this server's.
func (s *server) identify(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "stats\r\n"); err != nil {
		return err
	}
	want := fmt.Sprintf("STAT pid %d", s.cmd.Process.Pid)
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		switch lines.Text() {
		case want:
			return nil
		case "END":
			return fmt.Errorf("another process answers at %s", s.addr)
		}
	}
	return errors.Join(fmt.Errorf("%s does not answer as a cache", s.addr), lines.Err())
}

// stop stops the server by SIGTERM, or by SIGKILL after ten seconds. An end by the signal is not an error.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var err error
	select {
	case err = <-s.ended:
	case <-time.After(10 * time.Second):
		err = errors.Join(s.cmd.Process.Kill(), <-s.ended)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		return nil
	}
	return err
}

// cpu returns the processor time of the server, user and system, in steps of 10 ms.
func (s *server) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on, see proc_pid_stat(5)
	const utime, stime = 14 - 3, 15 - 3
	user, err := strconv.Atoi(fields[utime])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[stime])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// resident returns the server's resident memory in megabytes, now and at its peak.
func (s *server) resident() (now, peak float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	read := func(name string) float64 {
		_, rest, _ := strings.Cut(string(status), name+":")
		var kb float64
		if _, e := fmt.Sscanf(rest, "%f kB", &kb); e != nil {
			err = fmt.Errorf("%s in /proc/%d/status: %w", name, s.cmd.Process.Pid, e)
		}
		return kb / 1024
	}
	return read("VmRSS"), read("VmHWM"), err
}
