//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// A pending request has been sent, or waits to be written, and is not answered.
type pending struct {
	due  time.Duration // from the start of the run
	kind kind
}

// A conn is a connection with requests that are answered in order.
type conn struct {
	fd      int
	out     []byte    // bytes for which the kernel had no room
	waiting []pending // waiting[head:] is not answered
	head    int
	answer  answer // to waiting[head]
}

// dial opens a connection whose descriptor is its own. The other things that package net needs for it are released.
func dial(addr string) (c *conn, err error) {
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second) // with TCP_NODELAY
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, nc.Close()) }()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	c = &conn{}
	if e := raw.Control(func(fd uintptr) { c.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return nil, e
	}
	return c, err
}

func (c *conn) unanswered() []pending { return c.waiting[c.head:] }

// send sends a request, or keeps it until there is room.
func (c *conn) send(request []byte, p pending) error {
	if c.head > len(c.waiting)/2 {
		c.waiting = c.waiting[:copy(c.waiting, c.waiting[c.head:])]
		c.head = 0
	}
	c.waiting = append(c.waiting, p)
	if len(c.out) > 0 {
		c.out = append(c.out, request...)
		return nil
	}
	n, err := write(c.fd, request)
	c.out = append(c.out, request[n:]...)
	return err
}

// flush writes what was kept.
func (c *conn) flush() error {
	n, err := write(c.fd, c.out)
	c.out = c.out[:copy(c.out, c.out[n:])]
	return err
}

// write returns the number of bytes for which there was room.
func write(fd int, p []byte) (n int, err error) {
	n, err = unix.Write(fd, p)
	if err == unix.EAGAIN || err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	return n, nil
}

// read reads once into buf and calls answered for each request whose answer is complete.
func (c *conn) read(buf []byte, p *plan, answered func(pending)) error {
	n, err := unix.Read(c.fd, buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return fmt.Errorf("%d requests were not answered: the server closed the connection: %w", len(c.unanswered()), io.ErrUnexpectedEOF)
	}
	for data := buf[:n]; len(data) > 0; {
		if c.head == len(c.waiting) {
			return fmt.Errorf("the server sent %q without a request", data)
		}
		next := c.waiting[c.head]
		n, done, err := c.answer.take(data, p.requests[next.kind], p.isHTTP)
		if err != nil {
			return err
		}
		if data = data[n:]; done {
			c.answer = answer{head: c.answer.head}
			c.head++
			answered(next)
		}
	}
	return nil
}
