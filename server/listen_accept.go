package server

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

const (
	minBackoff = 5 * time.Millisecond // the first pause of a listener when descriptors are short; each next one is twice as long
	maxBackoff = time.Second
)

// accept accepts as many connections as AcceptBudget permits. The kernel reports the rest again.
func (a *acceptor) accept(*event.Event, event.Flags) {
	a.loop.assertInLoop("accept")
	for range a.loop.srv.cfg.AcceptBudget {
		if a.closed || !a.acceptOne() {
			return
		}
	}
}

// acceptOne accepts one connection. It reports whether there may be more.
func (a *acceptor) acceptOne() bool {
	s := a.loop.srv
	fd, peer, err := s.calls.Accept(a.fd)
	switch {
	case err == nil:
		a.ln.count()
		s.admitConn(a, fd, peer)
		return true
	case wouldBlock(err):
		a.earlier = false
		a.backoff = 0 // not after each success, so that a shortage is logged once although some accepts succeed
		return false
	case isClientGone(err):
		s.totals.acceptErrors.Add(1)
		return true
	}
	s.totals.acceptErrors.Add(1)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		a.refuseWithReserve()
	}
	a.pause(err)
	return false
}

// maxBacklog limits the connections that finish accepts, so that many new clients cannot prevent the end of a listener. It is several times
// the longest queue that Linux keeps by default.
const maxBacklog = 1 << 16

// finish accepts the connections that the kernel has already established, since closing the descriptor would reset them, and closes the
// descriptor. The kernel may establish more between the last accept and the close.
func (a *acceptor) finish() {
	for ; a.hasEvent && a.finished < maxBacklog && !a.closed && a.loop.srv.baseCtx.Err() == nil; a.finished++ {
		if !a.acceptOne() {
			break
		}
	}
	a.close()
}

// isClientGone reports whether an accept has failed because the client has disconnected, or because a firewall rule has refused it.
func isClientGone(err error) bool {
	return errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EPROTO) || errors.Is(err, unix.EPERM)
}

// admitConn makes an accepted descriptor a connection, or refuses it.
func (s *Server) admitConn(a *acceptor, fd int, peer sock.Peer) {
	if !s.enterConn(false) {
		a.loop.refuse(fd, a.ln.setup, nil)
		return
	}
	if network := a.ln.addr.Network(); a.perConn || a.earlier || s.cfg.socket().PerConn(network) {
		if err := s.cfg.socket().ApplyConn(network, fd); err != nil {
			s.cfg.Logger.Warn("server: set options of an accepted connection", "addr", a.ln.addr.String(), "err", err)
		}
	}
	if !a.balance || len(s.loops) == 1 {
		s.install(a, a.loop, fd, peer)
		return
	}
	var l *loop
	defer func() {
		if l == nil { // PickLoop has called runtime.Goexit or panicked
			a.handToLoop(s.nextLoop(), fd, peer)
		}
	}()
	l = s.pick(peer)
	s.install(a, l, fd, peer)
}

// install begins the connection on l.
func (s *Server) install(a *acceptor, l *loop, fd int, peer sock.Peer) {
	if l != a.loop {
		a.handToLoop(l, fd, peer)
		return
	}
	if c := a.newConn(l, fd, peer); c != nil {
		l.setCurrent(c)
		c.begin()
		l.clearCurrent()
	}
}

// handToLoop makes l begin the connection.
func (a *acceptor) handToLoop(l *loop, fd int, peer sock.Peer) {
	c := a.newConn(l, fd, peer)
	if c == nil {
		return
	}
	if !c.giveToLoop(cmdOpen) {
		l.srv.abandon(fd)
	}
}

// abandon closes the descriptor of an accepted connection that could not begin because its loop is closed.
func (s *Server) abandon(fd int) {
	s.leaveConn(false)
	_ = s.calls.Close(fd)
}

// newConn makes a connection of the accepted descriptor fd. If the loop is closed, it closes fd and returns nil.
func (a *acceptor) newConn(l *loop, fd int, peer sock.Peer) *loopConn {
	s := l.srv
	c, err := s.newConn(l, fd, peer, a.ln.handler, a.ln.setup)
	if err != nil {
		s.abandon(fd)
		return nil
	}
	return c
}

// pick chooses the loop of a new connection.
func (s *Server) pick(peer sock.Peer) *loop {
	n := len(s.loops)
	switch {
	case s.cfg.PickLoop != nil:
		i, returned := s.callPickLoop(peer)
		if i >= 0 && i < n {
			return s.loops[i]
		}
		if returned {
			s.cfg.Logger.Error("server: PickLoop returned an invalid number of a loop", "returned", i, "loops", n)
		}
	case s.cfg.Balance == BalanceLeastConns:
		least := s.listenerLoop()
		for _, l := range s.loops {
			if l.count.Load() < least.count.Load() && !l.ended.Load() {
				least = l
			}
		}
		return least
	case s.cfg.Balance == BalanceSourceHash:
		if l := s.loops[peer.Hash()%uint64(n)]; !l.ended.Load() {
			return l
		}
	}
	return s.nextLoop()
}

// callPickLoop calls PickLoop. If PickLoop panics and OnPanic is set, it returns -1 and false.
func (s *Server) callPickLoop(peer sock.Peer) (i int, returned bool) {
	n, addr := len(s.loops), peer.Addr(s.network(peer))
	if s.cfg.OnPanic == nil {
		return s.cfg.PickLoop(addr, n), true
	}
	i = -1
	s.loops[0].guard(func() { i, returned = s.cfg.PickLoop(addr, n), true })
	return i, returned
}

// pause stops accepting for a while, since the kernel would report the descriptor in each turn.
func (a *acceptor) pause(err error) {
	s := a.loop.srv
	a.backoff = min(maxBackoff, max(minBackoff, 2*a.backoff))
	if a.backoff == minBackoff { // once for each shortage
		s.cfg.Logger.Warn("server: accept", "addr", a.ln.addr.String(), "err", err)
	}
	s.totals.pauses.Add(1)
	if err := a.e.Del(); err != nil {
		s.cfg.Logger.Error("server: pause listener", "addr", a.ln.addr.String(), "err", err)
	}
	retry, err := a.loop.ev.AfterFunc(a.backoff, a.resume)
	if err != nil && !errors.Is(err, event.ErrClosed) {
		s.cfg.Logger.Error("server: pause listener", "addr", a.ln.addr.String(), "err", err)
	}
	a.retry = retry
}

// resume ends a pause.
func (a *acceptor) resume() {
	a.loop.assertInLoop("the end of a listener's pause")
	if a.closed {
		return
	}
	if err := a.e.Add(event.NoTimeout); err != nil { // for example because the system has no memory
		a.pause(err)
	}
}

// close closes the descriptor. On the loop, or when the loop is closed.
func (a *acceptor) close() {
	if a.closed {
		return
	}
	a.closed = true
	if a.retry != nil {
		_ = a.retry.Del()
	}
	if a.hasEvent {
		_ = a.e.Del() // the loop may be closed, or the event never added
	}
	if err := unix.Close(a.fd); err != nil {
		a.loop.srv.cfg.Logger.Warn("server: close listener", "addr", a.ln.addr.String(), "err", err)
	}
}
