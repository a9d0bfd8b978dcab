package server

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// shutdownPhase is the phase of a shutdown. It only grows.
type shutdownPhase uint32

const (
	phaseNone     shutdownPhase = iota // the server runs
	phaseRequests                      // connections that are not outgoing end, after their requests
	phaseOutgoing                      // no other connection is left, and outgoing connections end
)

// String returns the phase's name.
func (p shutdownPhase) String() string { return [...]string{"none", "requests", "outgoing"}[p] }

// drains reports whether a shutdown now ends connections that are outgoing, or those that are not.
func (s *Server) drains(outgoing bool) bool {
	phase := shutdownPhase(s.phase.Load())
	return phase == phaseOutgoing || phase == phaseRequests && !outgoing
}

// drainAll ends the connections that are not outgoing and then, when none of them and no datagram is left, the outgoing ones.
func (s *Server) drainAll(ctx context.Context) {
	s.drainLoops(ctx, false)
	if s.awaitDone(ctx, 0, s.incoming.empty()) && s.awaitDone(ctx, 0, s.jobs.empty()) {
		s.mu.Lock() // no dial begins from now on; see beginDial
		s.phase.Store(uint32(phaseOutgoing))
		s.mu.Unlock()
		s.awaitDone(ctx, grace, s.dials.empty()) // these calls end soon, unless PickLoop blocks
		s.drainLoops(ctx, true)
	}
}

// drainLoops ends the connections of one kind, and waits until each loop has marked its own.
func (s *Server) drainLoops(ctx context.Context, outgoing bool) {
	marked := make(chan struct{}, len(s.loops))
	for _, l := range s.loops {
		l.doFully(func() { l.drainConns(outgoing) }, func() { marked <- struct{}{} })
	}
	s.awaitAll(ctx, 0, marked, len(s.loops)) // otherwise a connection that begins at this time would not be ended
}

// drainConns ends the loop's connections of one kind.
func (l *loop) drainConns(outgoing bool) {
	for c := range l.srv.conns.all() {
		if c.loop != l || c.isOutgoing() != outgoing {
			continue
		}
		l.setCurrent(c)
		endsItself := c.callShutdown()
		l.clearCurrent()
		if !endsItself {
			c.beginDrain()
		}
	}
	if outgoing {
		for c := range l.dialing {
			c.closeWith(ErrServerClosed)
		}
	}
}

// beginDrain makes the connection end when its requests are answered and its output is flushed.
func (c *loopConn) beginDrain() {
	c.draining = c.draining.begin(!c.draining.isDraining() && c.hasNothingToDo())
	c.holds.remove(holdRate) // see readAllowance
	if c.writing == writeBlocked {
		c.deadlines.startOnce(closeDeadline, c.loop.now())
	}
	c.requeue()
}

// hasNothingToDo reports whether no request of the peer was read or begun and no output waits. The peer of a connection that is not open
// yet has sent no request; its input after the handshake is checked later. On the loop.
func (c *loopConn) hasNothingToDo() bool {
	handshake := c.handshake().isUnderWay() && !c.life.isClosing()
	if !handshake && (c.in != nil || c.hasRequests() || !c.life.takesInput() || c.hasMoreTLS() || !c.mayRead()) { // without mayRead, input may wait in the kernel
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if handshake {
		return c.outputBytes() == 0
	}
	if c.outputBytes() > 0 || c.recordsWait() || c.state != connOpen && (c.state != connHalf || !c.life.isShut()) {
		return false
	}
	return c.ext == nil || c.ext.tls == nil || !c.ext.tls.pipe.HasInput()
}

// unackedInterval is the time between two checks, in a shutdown, of an idle connection whose peer's system has not acknowledged all output.
const unackedInterval = 50 * time.Millisecond

// isIdleInShutdown reports whether the connection had nothing to do when a shutdown began, has received no input since, and its peer's
// system has acknowledged all output. Then it can be closed without waiting for EOF, since a reset would destroy no output. On the loop.
func (c *loopConn) isIdleInShutdown() bool {
	if !c.draining.isIdle() {
		return false
	}
	c.mu.Lock()
	hasRead := c.ext != nil && c.ext.lateReads > 0
	c.mu.Unlock()
	if hasRead {
		c.draining = c.draining.busy()
		return false
	}
	n, err := sock.Unsent(c.ev.FD())
	return n == 0 && err == nil // the close reports the error
}

// endIdle closes a connection that is idle in a shutdown and whose write side is closed, unless input has arrived meanwhile: a close with
// unread input sends a reset, which a client on a unix socket reads instead of the end of the stream.
func (c *loopConn) endIdle() (ended bool) {
	fd := c.ev.FD()
	if c.peer.IsUnix() { // so that no input arrives between the check and the close
		_ = c.loop.srv.calls.Shutdown(fd, unix.SHUT_RD) // the check would report its error, too
	}
	if n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT); err == nil && n > 0 {
		c.draining = c.draining.busy()
		return false
	}
	c.tearDown(nil)
	return true
}
