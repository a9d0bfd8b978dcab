package server

import (
	"cmp"
	"fmt"

	"github.com/evmq/evmq/event"
)

// begin adds the event of a new connection to the loop, and calls the handler's Open or starts what precedes it: Dial's lookup, a PROXY
// header or a TLS handshake. On the loop.
func (c *loopConn) begin() (alive bool) {
	l := c.loop
	if l.srv.drains(c.isOutgoing()) {
		c.draining = c.draining.begin(true)
	}
	if l.aborting {
		c.fail(cmp.Or(l.endReason, ErrServerClosed))
		return false
	}
	if c.life != lifeDialing {
		if c.life == lifeHandshake {
			c.ext.setupDeadline = saturatedAdd(l.now(), l.srv.cfg.HandshakeTimeout)
		}
		l.srv.conns.set(c.ev.FD(), c)
	}
	if c.life == lifeDialing && c.draining.isDraining() {
		c.closeWith(ErrServerClosed) // as drainConns does
	}
	if c.life == lifeDialing {
		c.ext.setupDeadline = saturatedAdd(l.now(), c.ext.dialTimeout)
		l.dialing[c] = struct{}{}
		c.startLookUp()
	}
	if err := c.ev.Add(event.NoTimeout); err != nil {
		c.fail(err)
		return false
	}
	switch {
	case c.life == lifeNew:
		c.opened()
	case c.isTLSClient():
		c.startHandshake()
	}
	c.arm()
	return !c.life.isGone()
}

// opened calls the handler's Open, unless the end of Dial's context was faster.
func (c *loopConn) opened() {
	c.mu.Lock()
	if c.isUnopened() && c.state == connClosed {
		reason := c.reasonLocked()
		c.mu.Unlock()
		c.tearDown(reason)
		return
	}
	c.life = c.life.to(lifeOpen)
	c.deadlines.start(idleDeadline, c.loop.now())
	c.loop.srv.totals.opened.Add(1)
	h, closing := c.handlerLocked(), c.state == connClosing
	if c.ext != nil {
		c.ext.unopened = false
	}
	stopContext := c.takeStopContext()
	opened := c.takeDialOpened()
	c.mu.Unlock()
	if opened != nil {
		defer opened(nil) // also if the callback calls runtime.Goexit
	}
	if stopContext != nil {
		stopContext()
	}
	if closing { // Close was called before
		c.beginClosing()
	} else {
		c.deadlines.start(firstRequestDeadline, c.loop.now())
	}
	c.guard(func() { h.Open(&c.Conn) })
}

// handshakeEnded opens the connection after its handshake, or ends it. On the loop.
func (c *loopConn) handshakeEnded() {
	if c.life.isGone() || !c.handshake().isBegun() {
		return
	}
	t := c.ext.tls
	s := c.loop.srv
	if err := t.pipe.Err(); err != nil {
		c.writeAlert()
		c.fail(fmt.Errorf("%w: %w", ErrHandshake, err))
		return
	}
	s.totals.handshakes.Add(1)
	c.setHandshake(handshakeDone)
	t.more = true // input may follow the handshake
	if t.upgraded {
		c.deadlines.start(idleDeadline, c.loop.now())
		c.mu.Lock()
		done := c.takeUpgradeDone()
		c.mu.Unlock()
		done(&c.Conn, nil)
		return
	}
	c.opened()
}
