//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/bench/internal/wsclient"
)

// silence is the time without a message after which a run fails.
const silence = 20 * time.Second

// A client has the sockets of a server, and reads from those that are ready.
type client struct {
	sockets []*socket
	epoll   int
	arrival int // an epoll descriptor that reports once that bytes have arrived; -1 if it is not used
	buf     []byte
	message func(s *socket, m *wsclient.Message) // is called for each message
}

// open opens the sockets of a client.
func open(addr string, n int, path string, compress bool) (c *client, err error) {
	c = &client{epoll: -1, arrival: -1, buf: make([]byte, 256<<10)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return c, os.NewSyscallError("epoll_create1", err)
	}
	if c.sockets, err = openAll(addr, n, path, compress); err != nil {
		c.sockets = nil // they are closed
		return c, err
	}
	for i := range c.sockets {
		if err := c.watch(unix.EPOLL_CTL_ADD, i, unix.EPOLLIN); err != nil {
			return c, err
		}
	}
	return c, nil
}

// watch sets the conditions of the socket with the number i.
func (c *client) watch(op, i int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(c.epoll, op, c.sockets[i].fd, &unix.EpollEvent{Events: events, Fd: int32(i)})) //nolint:gosec // some thousands
}

func (c *client) close() error {
	err := closeAll(c.sockets)
	for _, fd := range []int{c.epoll, c.arrival} {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}

// send sends a frame on the socket with the number i.
func (c *client) send(i int, frame []byte) error {
	s := c.sockets[i]
	had := len(s.out)
	if err := s.send(frame); err != nil {
		return err
	}
	if had == 0 && len(s.out) > 0 {
		return c.watch(unix.EPOLL_CTL_MOD, i, unix.EPOLLIN|unix.EPOLLOUT)
	}
	return nil
}

// watchArrivals makes arrived possible.
func (c *client) watchArrivals() (err error) {
	if c.arrival, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	for i, s := range c.sockets {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(i)} //nolint:gosec // some thousands
		if err := unix.EpollCtl(c.arrival, unix.EPOLL_CTL_ADD, s.fd, &event); err != nil {
			return os.NewSyscallError("epoll_ctl", err)
		}
	}
	return nil
}

// arrived returns when bytes have arrived on all sockets, whose earlier bytes were read. It reads nothing: that takes a client longer than the servers
// need to write.
func (c *client) arrived() error {
	has := make([]bool, len(c.sockets))
	for missing := len(has); missing > 0; {
		err := c.wait(c.arrival, func(e *unix.EpollEvent) error {
			if !has[e.Fd] {
				has[e.Fd] = true
				missing--
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%d sockets have no message: %w", missing, err)
		}
	}
	return nil
}

// until serves the sockets until done.
func (c *client) until(done func() bool) error {
	for !done() {
		err := c.wait(c.epoll, func(e *unix.EpollEvent) error { return c.serve(int(e.Fd), e.Events) })
		if err != nil {
			return err
		}
	}
	return nil
}

// wait waits for events of an epoll descriptor once, and calls fn for each.
func (c *client) wait(epoll int, fn func(e *unix.EpollEvent) error) error {
	var events [512]unix.EpollEvent
	n, err := unix.EpollWait(epoll, events[:], int(silence.Milliseconds()))
	switch {
	case err == unix.EINTR:
		return nil
	case err != nil:
		return os.NewSyscallError("epoll_wait", err)
	case n == 0:
		return fmt.Errorf("no message has come for %v", silence)
	}
	for i := range events[:n] {
		if err := fn(&events[i]); err != nil {
			return fmt.Errorf("socket %d: %w", events[i].Fd, err)
		}
	}
	return nil
}

// serve handles the readiness of a socket.
func (c *client) serve(i int, events uint32) error {
	s := c.sockets[i]
	if events&unix.EPOLLOUT != 0 {
		if err := s.flush(); err != nil {
			return err
		}
		if len(s.out) == 0 {
			if err := c.watch(unix.EPOLL_CTL_MOD, i, unix.EPOLLIN); err != nil {
				return err
			}
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	return s.read(c.buf, func(m *wsclient.Message) { c.message(s, m) })
}
