//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evmq/evmq/bench/internal/child"
	"github.com/evmq/evmq/bench/internal/target"
	"github.com/evmq/evmq/bench/internal/wsclient"
	"github.com/evmq/evmq/bench/internal/wspeer"
)

// broadcast measures one server at a time. The sockets are opened in each round, because those of all servers at once would be too many.
func broadcast(o *options) (err error) {
	servers, err := target.StartAll(o.servers)
	defer func() { err = errors.Join(err, target.StopAll(servers)) }()
	if err != nil {
		return err
	}
	last, cost := newTable("time until the last socket has a message", " ms", servers), newTable("processor time of the server per message to all sockets", " ms", servers)
	for range o.rounds {
		for _, i := range rand.Perm(len(servers)) {
			times, costs, err := broadcastRun(o, servers[i])
			if err != nil {
				return fmt.Errorf("%s: %w", servers[i], err)
			}
			last.add(i, median(times))
			cost.add(i, median(costs))
		}
	}
	return errors.Join(last.print(os.Stdout, o.base), cost.print(os.Stdout, o.base))
}

// broadcastRun opens the sockets and returns, for each message, the milliseconds until the last socket has it, and those of the server's processor time.
func broadcastRun(o *options, server *target.Target) (times, costs []float64, err error) {
	c, err := open(server.Addr, o.conns[0], string(wspeer.Sub), false)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, c.close(), left(server.Addr)) }()
	if err := c.join(server.Addr); err != nil {
		return nil, nil, err
	}
	if !o.reading {
		if err := c.watchArrivals(); err != nil {
			return nil, nil, err
		}
	}
	for range o.messages + 1 {
		took, spent, err := c.broadcast(server, o.size)
		if err != nil {
			return nil, nil, err
		}
		times, costs = append(times, took.Seconds()*1e3), append(costs, spent.Seconds()*1e3)
	}
	return times[1:], costs[1:], nil // the first warms up
}

// join waits until all sockets are in the group, which they join a little after they are open. It requests messages of different lengths until one was
// sent to all.
func (c *client) join(addr string) error {
	size, got := 0, 0
	c.message = func(_ *socket, m *wsclient.Message) {
		if m.Length == size {
			got++
		}
	}
	for deadline := time.Now().Add(silence); ; {
		size, got = size+1, 0
		n, err := members(addr, size)
		switch {
		case err != nil:
			return err
		case n == len(c.sockets):
			return c.until(func() bool { return got == n })
		case time.Now().After(deadline):
			return fmt.Errorf("the group has %d sockets, and not %d", n, len(c.sockets))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// left waits until the group is empty.
func left(addr string) error {
	for deadline := time.Now().Add(silence); ; {
		n, err := members(addr, 0)
		switch {
		case err != nil || n == 0:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("the group still has %d sockets", n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// broadcast requests a message to all sockets, and returns the time until the last has it, and the processor time of the server. With watchArrivals the
// messages are read when the last has arrived.
func (c *client) broadcast(server *target.Target, size int) (took, spent time.Duration, err error) {
	missing := len(c.sockets)
	var wrong error
	c.message = func(_ *socket, m *wsclient.Message) {
		if missing--; m.Length != size || missing < 0 {
			wrong = fmt.Errorf("a message of %d bytes, which is not the one that was requested", m.Length)
		}
	}
	before, err := child.ProcessorTime(server.PID)
	if err != nil {
		return 0, 0, err
	}
	answer := make(chan error, 1)
	begin := time.Now()
	go func() {
		n, err := members(server.Addr, size)
		if err == nil && n != len(c.sockets) {
			err = fmt.Errorf("the server has sent to %d sockets", n)
		}
		answer <- err
	}()
	if c.arrival >= 0 {
		if err := c.arrived(); err != nil {
			return 0, 0, err
		}
		took = time.Since(begin)
	}
	if err := c.until(func() bool { return missing <= 0 || wrong != nil }); err != nil {
		return 0, 0, fmt.Errorf("%d sockets have no message: %w", missing, err)
	}
	if c.arrival < 0 {
		took = time.Since(begin)
	}
	if err := errors.Join(wrong, <-answer); err != nil {
		return 0, 0, err
	}
	after, err := child.ProcessorTime(server.PID)
	return took, after - before, err
}

// members requests a message to all sockets of the group, and returns their number.
func members(addr string, size int) (n int, err error) {
	text, err := ask(addr, "/broadcast?n=1&size="+strconv.Itoa(size))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(text))
}

// ask requests a path, and returns the body of the answer.
func ask(addr, path string) (text string, err error) {
	client := http.Client{Timeout: silence, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered with %s: %q", path, resp.Status, body)
	}
	return string(body), err
}

// median returns the median of values, which it sorts.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
