package server

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// A blockingAccept is the state of the goroutine that accepts from a listener without a descriptor. Only that goroutine uses it.
type blockingAccept struct {
	ln        *Listener
	took      bool          // a connection was added to the server
	backoff   time.Duration // the last pause; 0 after a success
	hasLogged bool          // a failure was logged
	logged    time.Duration // the time of the last failure that was logged
}

// errAcceptExit is the result of Wait when a method of the listener, or of its connections, has called runtime.Goexit.
var errAcceptExit = errors.New("server: the listener's Accept called runtime.Goexit")

// acceptBlocking accepts from a listener without a descriptor until it fails or is closed.
func (ln *Listener) acceptBlocking() {
	label(acceptLabels)
	returns := false
	defer func() {
		if !returns {
			ln.stopWith(errAcceptExit)
		}
	}()
	b := &blockingAccept{ln: ln}
	b.run()
	returns = true
}

func (b *blockingAccept) run() {
	ln := b.ln
	for {
		nc, err := ln.original.Accept()
		switch {
		case err == nil:
			ln.count()
			if err = b.take(nc); err != nil {
				ln.stopWith(err)
				return
			}
		case isTemporary(err):
			if !b.pause("server: accept", err) {
				return
			}
		default:
			ln.stopWith(fmt.Errorf("accept from %v: %w", ln.addr, err)) // has no effect if the listener is closed already
			return
		}
	}
}

// take adds nc to the server, or refuses it at MaxConns. An error ends the listener.
func (b *blockingAccept) take(nc net.Conn) error {
	ln, s := b.ln, b.ln.srv
	err := s.applySocket(nc)
	if err == nil {
		_, err = s.addConn(nc, ConnConfig{Handler: ln.handler}, ln)
	}
	if err == nil {
		b.took, b.backoff = true, 0
		return nil
	}
	if errors.Is(err, ErrOverload) {
		s.refuseConn(nc, b.ln.setup)
		return nil
	}
	_ = nc.Close() // the first error is returned
	switch {
	case errors.Is(err, ErrServerClosed): // the shutdown closes the listener
	case errors.Is(err, ErrLoopClosed): // all loops are closed
		return fmt.Errorf("accept from %v: %w", ln.addr, err)
	case errors.Is(err, ErrUnsupported) && !b.took:
		return fmt.Errorf("accept from %v: %w", ln.addr, err)
	case isShortage(err):
		b.pause("server: add accepted connection", err)
	default:
		s.totals.acceptErrors.Add(1)
		b.log("server: add accepted connection", err)
	}
	return nil
}

// pause waits after a temporary failure, longer each time, and reports whether the listener is still open.
func (b *blockingAccept) pause(message string, err error) bool {
	s := b.ln.srv
	s.totals.acceptErrors.Add(1)
	s.totals.pauses.Add(1)
	b.backoff = min(maxBackoff, max(minBackoff, 2*b.backoff))
	if b.backoff == minBackoff { // once for each shortage
		b.log(message, err)
	}
	passed, stop := after(s.clock(), b.backoff)
	defer stop()
	select {
	case <-passed:
		return true
	case <-b.ln.stopping:
		return false
	}
}

// log logs a failure, at most one per second, because clients can cause failures.
func (b *blockingAccept) log(message string, err error) {
	if now := b.ln.srv.clock().Now(); !b.hasLogged || now-b.logged >= time.Second {
		b.hasLogged, b.logged = true, now
		b.ln.srv.cfg.Logger.Warn(message, "addr", b.ln.addr.String(), "err", err)
	}
}

// isTemporary reports whether Accept may succeed later. Errors of package net report it by a method.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	return errors.As(err, &t) && t.Temporary() || isShortage(err) || isClientGone(err)
}

// isShortage reports whether the process or the system has no descriptor or no memory left.
func isShortage(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// refuseConn sends BusyText on a connection of package net, and closes it.
func (s *Server) refuseConn(nc net.Conn, setup connSetup) {
	fd := -1
	if sc, ok := nc.(syscall.Conn); ok {
		if dup, err := sock.DupConn(sc); err == nil {
			fd = dup
		}
	}
	_ = nc.Close() // fd is a duplicate
	if fd < 0 {
		s.totals.refused.Add(1)
		return
	}
	l := s.nextLoop()
	refuse := func() { // a task and not a post, because the end of the server waits for it
		l.assertInLoop("a refusal")
		l.refusing.Add(-1)
		l.refuse(fd, setup, nil)
	}
	if l.refusing.Add(1) > maxRefusals || !l.do(refuse) { // the loop is blocked, or closed
		l.refusing.Add(-1)
		_ = s.calls.Close(fd)
		s.totals.refused.Add(1)
	}
}

// applySocket sets the server's socket options on an accepted connection. It ignores a connection without a descriptor, which addConn
// refuses.
func (s *Server) applySocket(nc net.Conn) error {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = s.cfg.socket().ApplyConn(nc.RemoteAddr().Network(), int(fd)) }); e != nil {
		return e
	}
	return err
}
