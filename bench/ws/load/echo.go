//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/evmq/evmq/bench/internal/child"
	"github.com/evmq/evmq/bench/internal/target"
	"github.com/evmq/evmq/bench/internal/wsclient"
	"github.com/evmq/evmq/bench/internal/wspeer"
)

// echo measures all servers, which run at the same time and whose sockets are open for all rounds. One server at a time has a load.
func echo(o *options) (err error) {
	servers, err := target.StartAll(o.servers)
	defer func() { err = errors.Join(err, target.StopAll(servers)) }()
	if err != nil {
		return err
	}
	var runs []*echoRun
	defer func() {
		for _, r := range runs {
			err = errors.Join(err, r.close())
		}
	}()
	for _, s := range servers {
		r, err := newEchoRun(o, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		runs = append(runs, r)
	}
	cost, rate := newTable("processor time of the server per message", " µs", servers), newTable("messages per second", "", servers)
	for round := range o.rounds + 1 {
		for _, i := range rand.Perm(len(servers)) {
			took, spent, err := runs[i].run(o)
			if err != nil {
				return fmt.Errorf("%s: %w", servers[i], err)
			}
			if round > 0 { // the first warms up
				cost.add(i, float64(spent.Nanoseconds())/1e3/float64(o.messages))
				rate.add(i, float64(o.messages)/took.Seconds())
			}
		}
	}
	return errors.Join(cost.print(os.Stdout, o.base), rate.print(os.Stdout, o.base))
}

// An echoRun has the sockets of a server and the numbers of those whose messages are answered.
type echoRun struct {
	*client
	server *target.Target
	frame  []byte
	idle   []int // a ring: the first is the one that is idle for the longest time
	index  map[*socket]int

	sent, answered int
	err            error // of an answer
}

func newEchoRun(o *options, server *target.Target) (*echoRun, error) {
	c, err := open(server.Addr, o.conns[len(o.conns)-1], o.path, o.compress())
	if err != nil {
		return nil, err
	}
	opcode := byte(wsclient.Binary)
	if o.text {
		opcode = wsclient.Text
	}
	r := &echoRun{client: c, server: server, frame: wsclient.Frame(opcode, wspeer.Message(o.size), o.compress()), index: make(map[*socket]int)}
	for i, s := range c.sockets {
		r.index[s] = i
		r.idle = append(r.idle, i)
	}
	c.message = func(s *socket, m *wsclient.Message) {
		if m.Opcode != opcode || !m.Compressed && m.Length != o.size {
			r.err = errors.Join(r.err, fmt.Errorf("the answer has opcode %d and %d bytes", m.Opcode, m.Length))
		}
		r.answered++
		r.idle = append(r.idle, r.index[s])
		if r.sent < o.messages {
			r.err = errors.Join(r.err, r.next())
		}
	}
	return r, nil
}

// next sends a message on the socket that is idle for the longest time.
func (r *echoRun) next() error {
	i := r.idle[0]
	if r.idle = r.idle[1:]; cap(r.idle) < 2*len(r.sockets) {
		r.idle = append(make([]int, 0, 8*len(r.sockets)), r.idle...)
	}
	r.sent++
	return r.send(i, r.frame)
}

// run sends all messages and returns the time until the last answer, and the processor time of the server.
func (r *echoRun) run(o *options) (took, spent time.Duration, err error) {
	before, err := child.ProcessorTime(r.server.PID)
	if err != nil {
		return 0, 0, err
	}
	r.sent, r.answered = 0, 0
	begin := time.Now()
	inflight := o.inflight
	if inflight == 0 {
		inflight = len(r.sockets)
	}
	for range min(inflight, o.messages) {
		if err := r.next(); err != nil {
			return 0, 0, err
		}
	}
	if err := r.until(func() bool { return r.answered == o.messages || r.err != nil }); err != nil || r.err != nil {
		return 0, 0, errors.Join(err, r.err)
	}
	took = time.Since(begin)
	after, err := child.ProcessorTime(r.server.PID)
	return took, after - before, err
}
