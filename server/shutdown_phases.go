package server

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// shutdownPhase is how far a shutdown has come. It only grows.
type shutdownPhase uint32

const (
	phaseNone     shutdownPhase = iota // the server runs
	phaseRequests                      // connections that clients have made end, and requests in hand with them
	phaseOutgoing                      // no other connection is left, and those that the server has made end
)

// String is the phase's name.
func (p shutdownPhase) String() string { return [...]string{"none", "requests", "outgoing"}[p] }

// drains reports whether a connection is to end now.
func (s *Server) drains(outgoing bool) bool {
	phase := shutdownPhase(s.phase.Load())
	return phase == phaseOutgoing || phase == phaseRequests && !outgoing
}

// isOutgoing reports whether the server has made the connection. On the loop.
func (c *loopConn) isOutgoing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ext != nil && c.ext.outgoing
}

// drainAll lets the connections end that clients have made, and when none of them and no datagram is left, those that the server has made.
func (s *Server) drainAll(ctx context.Context) {
	s.drain(ctx, false)
	if s.awaitDone(ctx, 0, s.incoming.empty()) && s.awaitDone(ctx, 0, s.jobs.empty()) {
		s.phase.Store(uint32(phaseOutgoing))
		s.drain(ctx, true)
	}
}

// drain lets the connections of one kind end, and waits until each loop has told its own.
func (s *Server) drain(ctx context.Context, outgoing bool) {
	told := make(chan struct{}, len(s.loops))
	for _, l := range s.loops {
		l.doFully(func() { l.drain(outgoing) }, func() { told <- struct{}{} })
	}
	s.awaitAll(ctx, 0, told, len(s.loops)) // or a connection that comes in just now would not be counted
}

// drain lets the loop's connections of one kind end.
func (l *loop) drain(outgoing bool) {
	for c := range l.srv.conns.all() {
		if c.loop == l && c.isOutgoing() == outgoing {
			c.drain()
		}
	}
	if outgoing {
		for c := range l.dialing {
			c.closeWith(ErrServerClosed)
		}
	}
}

// drain lets the connection end when it has nothing to do any more.
func (c *loopConn) drain() {
	c.draining = c.draining.begin(!c.draining.isDraining() && c.hasNothingToDo())
	if c.writing == writeBlocked {
		c.deadlines.startOnce(closeDeadline, c.loop.now())
	}
	c.requeue()
}

// hasNothingToDo reports whether the peer has neither begun a request, as far as it was read, nor waits for anything. The peer of a
// connection that is not open yet has asked for nothing; what it sends behind its handshake is seen later. On the loop.
func (c *loopConn) hasNothingToDo() bool {
	handshake := c.handshake().isUnderWay() && !c.life.isClosing()
	if !handshake && (c.in != nil || c.inWork() || !c.life.takesInput() || c.hasMoreTLS() || !c.mayRead()) { // or input may wait in the kernel
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if handshake {
		return c.held() == 0
	}
	if c.held() > 0 || c.cipherWaits() || c.state != connOpen && (c.state != connHalf || !c.life.isShut()) {
		return false
	}
	return c.ext == nil || c.ext.tls == nil || !c.ext.tls.pipe.HasInput()
}

// unsentLook is the time between two looks at an idle connection whose peer's system has not acknowledged all output in a shutdown.
const unsentLook = 50 * time.Millisecond

// isIdleInShutdown reports whether the connection had nothing to do when a shutdown began, has sent nothing since, and its peer's system
// has all output. Then nothing is lost when it is closed without waiting for the peer's end: a reset could only overtake output. On the
// loop.
func (c *loopConn) isIdleInShutdown() bool {
	if c.draining != drainIdle {
		return false
	}
	c.mu.Lock()
	looked := c.ext != nil && c.ext.looks > 0
	c.mu.Unlock()
	if looked {
		c.draining = c.draining.busy()
		return false
	}
	n, err := sock.Unsent(c.ev.FD())
	return n == 0 && err == nil // an error is the close's to tell
}

// endIdle closes a connection that isIdleInShutdown and whose half is closed, unless something has arrived meanwhile: a close with unread
// input sends a reset, which a client on a unix socket reads instead of the end of the stream.
func (c *loopConn) endIdle() (ended bool) {
	fd := c.ev.FD()
	if c.peer.IsUnix() { // nothing arrives any more between the look and the close
		_ = c.loop.srv.calls.Shutdown(fd, unix.SHUT_RD) // its error would be the look's, too
	}
	if n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT); err == nil && n > 0 {
		c.draining = c.draining.busy()
		return false
	}
	c.end(nil)
	return true
}
