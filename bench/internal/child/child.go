//go:build linux

// Package child runs the same program again as the server under test. The server is a process on a core of its own, so that a benchmark can
// measure it separately from its client.
package child

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a running server.
type Child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
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
	c := &Child{cmd: cmd, in: in, out: bufio.NewReader(out)}
	line, err := c.out.ReadString('\n')
	if c.addr = strings.Fields(line); err != nil || len(c.addr) == 0 {
		return nil, errors.Join(fmt.Errorf("server %v printed %q instead of its addresses: %w", args, line, err), c.Stop())
	}
	return c, nil
}

// Addr returns the server's i-th address.
func (c *Child) Addr(i int) string { return c.addr[i] }

// PID returns the number of the server's process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ask sends a question of one line to a server that has called ServeAnswers, and returns the answer.
func (c *Child) Ask(question string) (answer string, err error) {
	if _, err := fmt.Fprintln(c.in, question); err != nil {
		return "", err
	}
	answer, err = c.out.ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}

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

// CPU returns the processor time that the server has used.
func (c *Child) CPU() (time.Duration, error) { return ProcessorTime(c.cmd.Process.Pid) }

// ProcessorTime returns the user and system time that all threads of a process have used, those that have ended included, in nanoseconds.
func ProcessorTime(pid int) (time.Duration, error) {
	const scheduled = 2 // the time that the scheduler counts; the number of the clock is that of clock_getcpuclockid(3)
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Stop closes the server's input, which ends the server, and waits for its end.
func (c *Child) Stop() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }

// Serve is called by the server. It prints the addresses on which the server listens, and returns when the server should stop.
func Serve(addrs ...string) error {
	return ServeAnswers(func(string) string { return "" }, addrs...)
}

// ServeAnswers is Serve for a server that answers questions, each with a line.
func ServeAnswers(answer func(question string) string, addrs ...string) error {
	if _, err := fmt.Println(strings.Join(addrs, " ")); err != nil {
		return err
	}
	questions := bufio.NewScanner(os.Stdin)
	for questions.Scan() {
		if _, err := fmt.Println(answer(questions.Text())); err != nil {
			return err
		}
	}
	return questions.Err()
}
