//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/evmq/evmq/bench/internal/target"
)

// warmed is the number of sockets that a server has had before its memory is noted for the first time.
const warmed = 200

// A growth is the growth of a server's resident memory in bytes, from the time without sockets.
type growth struct {
	quiet, collected float64 // after some time without traffic; and after a collection of the garbage
}

// idle measures the memory of a socket that has answered one message, as a slope: the growths of two processes of a server, one with many sockets and
// one with few, differ by what the additional sockets need.
func idle(o *options) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	if _, err := fmt.Fprintf(out, "\t%d\t%d\tbytes per socket\tafter a collection: %[1]d\t%[2]d\tbytes per socket\n", o.conns[0], o.conns[1]); err != nil {
		return err
	}
	for _, command := range o.servers {
		if err := idleRow(o, command, out); err != nil {
			return err
		}
	}
	return out.Flush()
}

// idleRow measures one server.
func idleRow(o *options, command string, out io.Writer) error {
	name, _, _ := strings.Cut(command, "=")
	var g [2]growth
	for i, n := range o.conns {
		var err error
		if g[i], err = hold(o, command, n); err != nil {
			return fmt.Errorf("%s with %d sockets: %w", name, n, err)
		}
	}
	more := float64(o.conns[1] - o.conns[0])
	_, err := fmt.Fprintf(out, "%s\t%.1f MB\t%.1f MB\t%.0f\t%.1f MB\t%.1f MB\t%.0f\n", name, g[0].quiet/1e6, g[1].quiet/1e6, (g[1].quiet-g[0].quiet)/more,
		g[0].collected/1e6, g[1].collected/1e6, (g[1].collected-g[0].collected)/more)
	return err
}

// hold starts a server, sends a message on each of n sockets, and returns by how much its memory has grown.
func hold(o *options, command string, n int) (g growth, err error) {
	server, err := target.Start(command)
	if server != nil {
		defer func() { err = errors.Join(err, target.StopAll([]*target.Target{server})) }()
	}
	if err != nil {
		return g, err
	}
	few := *o
	few.conns = []int{warmed}
	r, err := held(&few, server)
	if err != nil {
		return g, err
	}
	if err := r.close(); err != nil {
		return g, err
	}
	before, err := resident(server.PID)
	if err != nil {
		return g, err
	}
	many := *o
	many.conns = []int{n}
	if r, err = held(&many, server); err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	time.Sleep(o.wait)
	quiet, err := resident(server.PID)
	if err != nil {
		return g, err
	}
	if _, err := ask(server.Addr, "/gc"); err != nil {
		return g, err
	}
	collected, err := resident(server.PID)
	return growth{quiet - before, collected - before}, err
}

// held opens sockets and sends a message on each, one after the other.
func held(o *options, server *target.Target) (*echoRun, error) {
	o.messages, o.inflight = o.conns[0], 1
	r, err := newEchoRun(o, server)
	if err != nil {
		return nil, err
	}
	if _, _, err := r.run(o); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// resident returns the resident memory of a process in bytes.
func resident(pid int) (float64, error) {
	name := fmt.Sprintf("/proc/%d/status", pid)
	status, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	var kilobytes float64
	_, after, ok := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(after, &kilobytes); !ok || err != nil {
		return 0, fmt.Errorf("%s has no VmRSS: %w", name, err)
	}
	return kilobytes * 1024, nil
}
