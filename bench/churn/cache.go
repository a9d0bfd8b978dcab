//go:build linux

package main

import (
	"bufio"
	"bytes"
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

// cache is a running server.
type cache struct {
	name, addr string
	cmd        *exec.Cmd
}

// start starts a command and waits until it listens.
func start(name, command string, port, memory int) (*cache, error) {
	words := strings.Fields(strings.NewReplacer("{port}", strconv.Itoa(port), "{m}", strconv.Itoa(memory)).Replace(command))
	c := &cache{name: name, addr: "127.0.0.1:" + strconv.Itoa(port), cmd: exec.Command(words[0], words[1:]...)}
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		nc, err := net.Dial("tcp", c.addr)
		if err == nil {
			return c, nc.Close()
		}
		if time.Now().After(end) {
			return nil, errors.Join(fmt.Errorf("%s: %w", name, err), c.stop())
		}
	}
}

// stop stops the server.
func (c *cache) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := c.cmd.Wait(); err != nil && c.cmd.ProcessState.Exited() { // memcached may be killed by the signal
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// resident returns the peak of the resident memory in bytes.
func (c *cache) resident() (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(peak)
	if len(fields) == 0 {
		return 0, fmt.Errorf("%s: no VmHWM", c.name)
	}
	kb, err := strconv.Atoi(fields[0])
	return kb << 10, err
}

// processor returns the processor time used, as the scheduler counts it.
func (c *cache) processor() (time.Duration, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", c.cmd.Process.Pid))
	var sum time.Duration
	for _, task := range tasks {
		p, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", c.cmd.Process.Pid, task.Name()))
		if err != nil {
			continue // it has ended
		}
		n, err := strconv.ParseInt(strings.Fields(string(p))[0], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n)
	}
	return sum, err
}

// client is a connection to a cache.
type client struct {
	net.Conn
	r     *bufio.Reader
	value []byte
}

func dial(addr string) (*client, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{Conn: nc, r: bufio.NewReaderSize(nc, 64<<10), value: bytes.Repeat([]byte("v"), largest+2)}, nil
}

// one gets a key and stores it after a miss, or stores it without a get.
func (c *client) one(r *result, key string, size int, set bool) error {
	if !set {
		begin := time.Now()
		hit, err := c.get(key)
		if err != nil {
			return err
		}
		r.gets++
		if hit {
			r.hits++
			r.took = append(r.took, time.Since(begin))
			return nil
		}
	}
	r.sets++
	stored, err := c.set(key, size)
	if err == nil && !stored {
		r.refused++
	}
	return err
}

func (c *client) get(key string) (hit bool, err error) {
	if _, err := io.WriteString(c, "get "+key+"\r\n"); err != nil {
		return false, err
	}
	line, err := c.r.ReadString('\n')
	if err != nil || line == "END\r\n" {
		return false, err
	}
	fields := strings.Fields(line)
	if len(fields) != 4 || fields[0] != "VALUE" || fields[1] != key {
		return false, fmt.Errorf("get %s: %q", key, line)
	}
	n, err := strconv.Atoi(fields[3])
	if err != nil {
		return false, err
	}
	_, err = c.r.Discard(n + len("\r\nEND\r\n"))
	return true, err
}

func (c *client) set(key string, size int) (stored bool, err error) {
	head := fmt.Sprintf("set %s 0 0 %d\r\n", key, size)
	bufs := net.Buffers{[]byte(head), c.value[:size], []byte("\r\n")}
	if _, err := bufs.WriteTo(c.Conn); err != nil {
		return false, err
	}
	line, err := c.r.ReadString('\n')
	switch {
	case err != nil:
		return false, err
	case line == "STORED\r\n":
		return true, nil
	case strings.HasPrefix(line, "SERVER_ERROR out of memory"):
		return false, nil
	}
	return false, fmt.Errorf("set %s: %q", key, line)
}
