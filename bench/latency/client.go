//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/bench/internal/child"
)

// burst is the number of requests that are sent before answers are read. It limits how late answers are noticed if the client is late.
const burst = 64

// A client is one thread that sends requests when they are due and reads answers. It sends a request on a connection that is idle, as programs
// with a pool of connections do, and on the next one in turn if none is.
type client struct {
	plan
	conns         []*conn
	byFD          map[int32]*conn
	idle          []*conn // a ring of those without a request; the one that is idle for the longest time is at oldest
	oldest, idles int
	turn          int // the next connection if none is idle
	epoll         int
	timer         int           // a descriptor that is ready when a request is due
	armed         time.Duration // the time to which timer is set

	begin      time.Time
	choose     func() kind
	next       int // the next request
	unanswered int
	answers    int
	buf        []byte
	result     *result
}

// measure applies the load to a server and returns its result. pid is the server's process, or 0.
func measure(p plan, addr string, pid int) (r *result, err error) {
	c := &client{plan: p, byFD: map[int32]*conn{}, choose: p.choices(), buf: make([]byte, 256<<10), epoll: -1, timer: -1}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.open(addr); err != nil {
		return nil, err
	}
	c.result = newResult(&p)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return c.result, c.run(func() (time.Duration, error) {
		if pid == 0 {
			return 0, nil
		}
		return child.ProcessorTime(pid)
	})
}

func (c *client) open(addr string) (err error) {
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if c.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	if err := c.add(c.timer, unix.EPOLLIN|unix.EPOLLET); err != nil { // edge-triggered: it is never read
		return err
	}
	for range c.plan.conns {
		conn, err := dial(addr)
		if err != nil {
			return err
		}
		c.conns = append(c.conns, conn)
		c.byFD[int32(conn.fd)] = conn
		if err := c.add(conn.fd, unix.EPOLLIN); err != nil {
			return err
		}
	}
	c.idle, c.idles = slices.Clone(c.conns), len(c.conns)
	return nil
}

func (c *client) add(fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

func (c *client) close() (err error) {
	for _, conn := range c.conns {
		err = errors.Join(err, unix.Close(conn.fd))
	}
	for _, fd := range []int{c.timer, c.epoll} {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}

func (c *client) now() time.Duration { return time.Since(c.begin) }

// run sends all requests and waits for their answers.
func (c *client) run(cpu func() (time.Duration, error)) error {
	c.begin = time.Now()
	window := window{cpu: cpu}
	if err := c.until(c.warmup, c.first()); err != nil {
		return err
	}
	if err := window.open(c); err != nil {
		return err
	}
	if err := c.until(c.warmup+c.time, c.total()); err != nil {
		return err
	}
	if err := window.close(c); err != nil {
		return err
	}
	if err := c.wait(c.warmup+c.time+c.patience, func() bool { return c.unanswered == 0 }); err != nil {
		return err
	}
	for _, conn := range c.conns {
		for _, p := range conn.unanswered() {
			c.result.unanswered++
			c.record(p)
		}
	}
	return nil
}

// until sends the requests before the n-th one and returns when they are sent and the time is end.
func (c *client) until(end time.Duration, n int) error {
	for c.next < n {
		now := c.now()
		for i := 0; i < burst && c.next < n && c.due(c.next) <= now; i++ {
			if err := c.send(); err != nil {
				return err
			}
		}
		if err := c.poll(c.due(min(c.next, n-1))); err != nil {
			return err
		}
	}
	return c.wait(end, func() bool { return false })
}

// wait reads answers until the time is end, or done.
func (c *client) wait(end time.Duration, done func() bool) error {
	for c.now() < end && !done() {
		if err := c.poll(end); err != nil {
			return err
		}
	}
	return nil
}

// pick returns the connection for the next request.
func (c *client) pick() (conn *conn) {
	n := len(c.conns)
	if c.idles == 0 {
		conn = c.conns[c.turn]
		c.turn = (c.turn + 1) % n
		return conn
	}
	conn = c.idle[c.oldest]
	c.oldest = (c.oldest + 1) % n
	c.idles--
	return conn
}

func (c *client) becameIdle(conn *conn) {
	c.idle[(c.oldest+c.idles)%len(c.idle)] = conn
	c.idles++
}

// send sends the next request.
func (c *client) send() error {
	conn := c.pick()
	p := pending{c.due(c.next), c.choose()}
	c.next++
	c.unanswered++
	if p.due >= c.warmup {
		c.result.late = append(c.result.late, c.now()-p.due)
	}
	had := len(conn.out)
	if err := conn.send(c.requests[p.kind], p); err != nil {
		return err
	}
	return c.watch(conn, had)
}

// watch lets the loop be told when there is room for output, if output has begun to wait, or no longer if it has been written.
func (c *client) watch(conn *conn, had int) error {
	if (had > 0) == (len(conn.out) > 0) {
		return nil
	}
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(conn.fd)}
	if len(conn.out) > 0 {
		e.Events |= unix.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(c.epoll, unix.EPOLL_CTL_MOD, conn.fd, &e))
}

// poll reads the answers that have arrived. If there are none, it sleeps until some arrive, at most until the given time.
func (c *client) poll(until time.Duration) error {
	timeout := 0
	if wait := until - c.now(); wait > 0 && !c.spin {
		if c.armed != until {
			spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
			if err := unix.TimerfdSettime(c.timer, 0, &spec, nil); err != nil {
				return os.NewSyscallError("timerfd_settime", err)
			}
			c.armed = until
		}
		timeout = -1
	}
	var events [256]unix.EpollEvent
	n, err := unix.EpollWait(c.epoll, events[:], timeout)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("epoll_wait", err)
	}
	for _, e := range events[:n] {
		if int(e.Fd) == c.timer {
			c.armed = 0 // the timer is not set
			continue
		}
		if err := c.serve(c.byFD[e.Fd], e.Events); err != nil {
			return fmt.Errorf("after %d answers: %w", c.answers, err)
		}
	}
	return nil
}

// serve handles the readiness of a connection.
func (c *client) serve(conn *conn, events uint32) error {
	if events&unix.EPOLLOUT != 0 {
		had := len(conn.out)
		if err := conn.flush(); err != nil {
			return err
		}
		if err := c.watch(conn, had); err != nil {
			return err
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	had := len(conn.unanswered())
	if err := conn.read(c.buf, &c.plan, c.record); err != nil {
		return err
	}
	done := had - len(conn.unanswered())
	c.answers += done
	c.unanswered -= done
	if done > 0 && done == had {
		c.becameIdle(conn)
	}
	return nil
}

// record counts the latency of a request of the time that is measured.
func (c *client) record(p pending) {
	if p.due >= c.warmup {
		c.result.latencies[p.kind] = append(c.result.latencies[p.kind], c.now()-p.due)
	}
}
