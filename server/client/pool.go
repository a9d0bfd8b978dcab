package client

import (
	"time"

	"github.com/evmq/evmq/server"
)

// A request goes to the connection with the fewest requests, and among those to the one that was used last. If none has no request and
// there are fewer than MaxConns, one more is opened: for a call that waits, or, if the request has gone to a connection that has others, in
// the background. A call that waits gets the first connection that has room, whichever it is.

// growDelay is the time after a connection could not be opened in which none is opened in the background.
const growDelay = time.Second

// leastLoaded returns the connection that the next request goes to, or nil if none has room. Under mu.
func (c *Client) leastLoaded() *conn {
	for i := range c.byLoad {
		if k := c.byLoad[i].first; k != nil {
			return k
		}
	}
	return nil
}

// reserveDial reports whether one more connection has to be opened after x was begun, and counts it. Under mu. The caller calls dial
// without mu.
func (c *Client) reserveDial(x *call) bool {
	switch {
	case c.conns >= c.cfg.maxConns || c.state == clientClosed:
		return false
	case x != nil && x.state == callSent: // in the background
		if x.conn.flight.n <= 1 || c.dialing > 0 || c.byLoad[0].first != nil || c.now() < c.growAt {
			return false
		}
	case c.dialing >= c.waiting.n+c.repeats.n:
		return false
	}
	c.conns++
	c.dialing++
	c.stats.Dials++
	return true
}

// now returns the time of the first loop's clock.
func (c *Client) now() time.Duration { return c.Server.Loop(0).Clock().Now() }

// dial begins to open a connection that reserveDial has counted. Any goroutine, without mu.
func (c *Client) dial() {
	k := &conn{client: c}
	cfg := c.cfg.dial
	cfg.Handler = k
	begun := false
	var err error
	defer func() {
		if !begun { // also if PickLoop of the server panics or calls runtime.Goexit
			c.dialEnded(err)
		}
	}()
	_, err = c.Server.Dial(c.dialCtx, c.cfg.network, c.cfg.address, &cfg)
	begun = err == nil
}

// dialEnded is called when a connection could not be opened.
func (c *Client) dialEnded(err error) {
	if err == nil {
		err = server.ErrPanic
	}
	c.mu.Lock()
	c.conns--
	c.dialing--
	c.stats.DialErrors++
	if c.state == clientOpen && c.Server.Loop(0) != nil {
		c.growAt = c.now() + growDelay
	}
	switch {
	case c.conns == 0: // no connection will have room
		c.failWaiting(err)
	case c.repeats.first != nil:
		c.repeats.pop().end(err)
	case c.waiting.first != nil:
		c.waiting.pop().end(err)
	}
	c.mu.Unlock()
}

// needsRoom reports whether a connection has to end because calls need new ones and there are MaxConns. Under mu.
func (c *Client) needsRoom() bool {
	return c.conns >= c.cfg.maxConns && c.repeats.n > c.ending+c.dialing
}

// next returns the call that k serves next and removes it from its list, or nil if there is none. Under mu.
func (c *Client) next(k *conn) *call {
	if !k.answered && c.repeats.first != nil {
		return c.repeats.pop()
	}
	return c.waiting.pop()
}

// failWaiting ends all calls that wait for a connection. Under mu.
func (c *Client) failWaiting(err error) {
	for _, list := range []*callList{&c.repeats, &c.waiting} {
		for x := list.pop(); x != nil; x = list.pop() {
			x.end(err)
		}
	}
}

// reuse makes a connection available for the next requests, those of calls that wait first. Under mu.
func (c *Client) reuse(k *conn) {
	if k.state == connDraining && k.live == k.flight.n { // the answers to the abandoned requests have arrived
		k.state = connReady
	}
	if k.live == 0 && k.flight.n > 0 {
		k.abort(errAbandoned)
		return
	}
	if k.state == connReady && k.answered && c.needsRoom() {
		k.end(connRetiring)
	}
	for k.state == connReady && k.flight.n < c.cfg.pipeline {
		x := c.next(k)
		if x == nil {
			break
		}
		switch sent, err := k.send(x); {
		case err != nil:
			x.end(err)
		case !sent && x.repeat:
			c.repeats.pushFront(x)
		case !sent:
			c.waiting.pushFront(x)
		}
	}
	if k.flight.n > 0 || k.state == connClosing {
		k.place()
		return
	}
	if c.state == clientClosed || k.state == connRetiring {
		k.close()
		return
	}
	k.place()
	if c.byLoad[0].n > c.cfg.maxIdle {
		c.byLoad[0].last.close()
	}
}

// A connList is a list of connections, most recently used first.
type connList struct {
	first, last *conn
	n           int
}

func (l *connList) pushFront(k *conn) {
	k.next = l.first
	if l.first != nil {
		l.first.prev = k
	} else {
		l.last = k
	}
	l.first = k
	l.n++
}

func (l *connList) remove(k *conn) {
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		l.first = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		l.last = k.prev
	}
	k.prev, k.next = nil, nil
	l.n--
}
