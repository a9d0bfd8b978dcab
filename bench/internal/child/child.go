//go:build linux

// Package child runs the same program again as the server under test. The server is a process on a core of its own, so that a benchmark can
// measure it separately from its client.
package child

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a running server.
type Child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	addr []string
}

// Start runs this program with args and env on the cores in cpus, or on all if cpus is empty, and waits for the line with the addresses on which
// it listens.
func Start(cpus []int, env []string, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// A process starts on the cores of its parent's thread, and so do its threads.
	restore, err := Pin(cpus...)
	if err != nil {
		return nil, err
	}
	err = errors.Join(cmd.Start(), restore())
	if err != nil {
		return nil, err
	}
	c := &Child{cmd: cmd, in: in}
	line, err := bufio.NewReader(out).ReadString('\n')
	if c.addr = strings.Fields(line); err != nil || len(c.addr) == 0 {
		return nil, errors.Join(fmt.Errorf("server %v printed %q instead of its addresses: %w", args, line, err), c.Stop())
	}
	return c, nil
}

// Addr returns the server's i-th address.
func (c *Child) Addr(i int) string { return c.addr[i] }

// Pin restricts the calling thread, which the caller must have locked, to cpus. restore restores the previous cores.
func Pin(cpus ...int) (restore func() error, err error) {
	if len(cpus) == 0 {
		return func() error { return nil }, nil
	}
	var old, set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return nil, fmt.Errorf("get affinity: %w", err)
	}
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("pin to cores %v: %w", cpus, err)
	}
	return func() error { return unix.SchedSetaffinity(0, &old) }, nil
}

// CPU returns the processor time that the server has used, user and system, in steps of 10 ms.
func (c *Child) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // from the third on, see proc_pid_stat(5)
	const utime, stime = 14 - 3, 15 - 3
	user, err := strconv.Atoi(string(fields[utime]))
	if err != nil {
		return 0, err
	}
	sys, err := strconv.Atoi(string(fields[stime]))
	return time.Duration(user+sys) * 10 * time.Millisecond, err
}

// Stop closes the server's input, which ends the server, and waits for its end.
func (c *Child) Stop() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }

// Serve is called by the server. It prints the addresses on which the server listens, and returns when the server should stop.
func Serve(addrs ...string) error {
	if _, err := fmt.Println(strings.Join(addrs, " ")); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
