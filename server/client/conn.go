package client

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/server"
)

// A conn is a connection of a Client and its handler. It is used for one dial.
type conn struct {
	client *Client

	// Guarded by Client.mu.
	sc         *server.Conn // set by Open
	state      connState
	reading    bool          // the loop works on its input; afterwards it calls reuse
	answered   bool          // it has answered a request
	requests   int           // that were sent
	flight     callList      // the requests that were sent, in their order
	live       int           // those of flight that are not abandoned
	since      time.Duration // when the oldest request was sent or the one before it was answered, or when there was no request any more
	list       *connList     // the list that it is in, of Client.byLoad, or nil
	prev, next *conn

	// Loop only.
	timer   *server.ConnTimer
	cursor  int  // of the framing
	partial bool // bytes of the next answer have arrived
}

// connState is the state of a conn.
type connState uint8

const (
	connDialing  connState = iota
	connReady              // it accepts requests, up to Pipeline
	connDraining           // it has abandoned requests, and accepts none until they are answered
	connRetiring           // it accepts no request any more, and ends when those that it has are answered
	connClosing            // it accepts no request any more, and ends
)

// String returns the state's name.
func (s connState) String() string {
	return [...]string{"dialing", "ready", "draining", "retiring", "closing"}[s]
}

// errAbandoned is the reason of a connection whose requests are all abandoned.
var errAbandoned = errors.New("client: all requests of the connection were abandoned")

// maxLocked is the length of the longest answer that is copied under Client.mu.
const maxLocked = 4 << 10

// send writes the request of x. If the connection is ending, it returns false and no error. Under mu.
func (k *conn) send(x *call) (sent bool, err error) {
	if _, err = k.sc.Write(x.request); err != nil {
		if errors.Is(err, server.ErrClosed) {
			k.end(connClosing) // its requests end in Close, with the reason
			return false, nil
		}
		return false, err
	}
	if k.flight.n == 0 {
		k.since = k.sc.Loop().Clock().Now() // Loop.Now is old while the loop sleeps
	}
	x.state, x.conn, x.reused = callSent, k, k.answered
	k.flight.push(x)
	k.live++
	k.client.stats.Requests++
	k.client.stats.ActiveRequests++
	if k.requests++; k.requests >= k.client.cfg.maxRequests {
		k.end(connRetiring)
	} else {
		k.place()
	}
	return true, nil
}

// place puts the connection into the list in which it belongs. Under mu.
func (k *conn) place() {
	if k.list != nil {
		k.list.remove(k)
		k.list = nil
	}
	if c := k.client; k.state == connReady && !k.reading && k.flight.n < c.cfg.pipeline {
		k.list = &c.byLoad[k.flight.n]
		k.list.pushFront(k)
	}
}

// end makes the connection accept no request any more. Under mu.
func (k *conn) end(state connState) {
	if k.state != connRetiring && k.state != connClosing {
		k.client.ending++
	}
	k.state = state
	k.place()
}

// abandon gives up waiting for the answer to x. Under mu.
func (k *conn) abandon(x *call) {
	x.state, x.request, x.answer = callAbandoned, nil, nil
	k.live--
	switch {
	case k.live == 0 && !k.reading:
		k.abort(errAbandoned)
	case k.state == connReady:
		k.state = connDraining
		k.place()
	}
}

// close closes a connection without requests. Under mu.
func (k *conn) close() {
	k.end(connClosing)
	_ = k.sc.Close() // it fails if the connection is ending already
}

// abort ends the connection at once, because of reason. Under mu.
func (k *conn) abort(reason error) {
	k.fail(reason, false)
	_ = k.sc.CloseWithError(reason) // it fails if the connection is ending already
	k.sc.Abort()
}

// fail ends the requests of a connection that ends with reason. With byPeer, some of them may be repeated. Under mu; with byPeer on the loop.
func (k *conn) fail(reason error, byPeer bool) {
	k.end(connClosing)
	received := byPeer && k.partial // bytes of the first answer
	for x := k.flight.pop(); x != nil; x = k.flight.pop() {
		k.client.stats.ActiveRequests--
		if x.state != callAbandoned {
			x.repeatable = byPeer && x.reused && !received
			x.end(noAnswer(reason))
		}
		received = false
	}
	k.live = 0
}

// Open is called when the connection is established. Loop only.
func (k *conn) Open(sc *server.Conn) {
	c := k.client
	sc.SetTimeouts(server.Timeouts{Idle: -1, Read: -1, FirstRequest: -1}) // IdleTimeout and AnswerTimeout of the Client take their place
	if d := min(c.cfg.idleTimeout, c.cfg.answerTimeout); d != event.NoTimeout {
		k.timer = sc.AfterFunc(d, k.checkTime)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialing--
	k.sc, k.state, k.since = sc, connReady, sc.Loop().Now()
	c.reuse(k)
}

// checkTime ends the connection if IdleTimeout or AnswerTimeout has passed. It is called by the timer, at least as often as the shorter one
// of them passes, since requests do not set the timer.
func (k *conn) checkTime() {
	c := k.client
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.cfg.idleTimeout
	if k.flight.n > 0 {
		limit = c.cfg.answerTimeout
	}
	left := limit
	if limit != event.NoTimeout {
		left -= k.sc.Loop().Now() - k.since
	}
	switch {
	case k.state == connClosing:
	case left > 0:
		k.timer.Reset(min(left, c.cfg.idleTimeout, c.cfg.answerTimeout))
	case k.flight.n > 0:
		k.abort(ErrAnswerTimeout)
	default:
		k.close()
	}
}

// Data takes answers. Loop only.
func (k *conn) Data(_ *server.Conn, p []byte) (int, error) { return k.receive(p, false), nil }

// LastData takes the answer that the end of the stream completes. Loop only.
func (k *conn) LastData(_ *server.Conn, p []byte) (int, error) { return k.receive(p, true), nil }

// EOF ends the connection, since no answer follows. Loop only.
func (k *conn) EOF(sc *server.Conn) {
	k.client.mu.Lock()
	k.fail(io.EOF, true)
	k.client.mu.Unlock()
	_ = sc.CloseWithError(io.EOF) // it fails if the connection is ending already
}

// MaxInput returns the number of bytes that an answer may have with its delimiter or length. Any goroutine.
func (k *conn) MaxInput() int { return k.client.cfg.framing.MaxLen() }

// Close ends the requests that have no answer, and opens another connection for calls that wait. Loop only.
func (k *conn) Close(_ *server.Conn, reason error) {
	c := k.client
	c.mu.Lock()
	if k.state == connDialing {
		c.mu.Unlock()
		c.dialEnded(cmp.Or(reason, server.ErrClosed))
		return
	}
	kind := server.ReasonOf(reason)
	k.fail(reason, kind == server.EndedByPeer || kind == server.EndedByReset)
	c.conns--
	c.ending--
	dials := c.reserveDial(nil)
	c.mu.Unlock()
	if dials {
		c.dial()
	}
}

// receive gives the answers in p to their calls, and returns the number of bytes that are consumed.
func (k *conn) receive(p []byte, atEOF bool) (consumed int) {
	for consumed < len(p) {
		found, err := k.client.cfg.framing.Next(p[consumed:], k.cursor, atEOF)
		if err == nil && (found.Advance < 0 || found.Advance > len(p)-consumed) {
			err = fmt.Errorf("%w: Framing.Next advanced by %d of %d bytes", server.ErrHandler, found.Advance, len(p)-consumed)
		}
		if err != nil {
			k.refuse(err)
			return len(p)
		}
		k.cursor = found.Cursor
		consumed += found.Advance
		last := consumed == len(p)
		if found.Message != nil {
			k.partial = false
			if !k.answer(found.Message, last && !found.Final && !atEOF) { // at the end EOF follows, and the connection is not used again
				k.refuse(ErrUnexpected)
				return len(p)
			}
		}
		switch {
		case found.Final:
			k.EOF(k.sc)
			return len(p)
		case found.Message != nil: // more may follow
		case last || found.Advance == 0:
			k.keep()
			return consumed
		}
	}
	return consumed
}

// answer gives an answer to the oldest request. last says that no byte follows it. It returns false if there is no request.
func (k *conn) answer(message []byte, last bool) bool {
	c := k.client
	c.mu.Lock()
	defer c.mu.Unlock()
	x := k.flight.pop()
	if x == nil {
		return k.state == connClosing // the requests have failed meanwhile
	}
	k.answered, k.reading = true, true
	k.since = k.sc.Loop().Now()
	c.stats.ActiveRequests--
	if x.state != callAbandoned {
		k.live--
		c.stats.Answers++
		if len(message) > maxLocked {
			x.state = callReceiving
			c.mu.Unlock()
			x.answer = append(x.answer, message...)
			c.mu.Lock()
		} else {
			x.answer = append(x.answer, message...)
		}
		x.end(nil)
	}
	if last {
		k.reading = false
		c.reuse(k)
	}
	return true
}

// keep is called when all complete answers in the input are given to their calls.
func (k *conn) keep() {
	c := k.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.state == connClosing {
		return
	}
	k.partial = true
	if k.flight.n == 0 {
		c.stats.Unexpected++
		k.abort(ErrUnexpected)
		return
	}
	if k.reading {
		k.reading = false
		c.reuse(k)
	}
}

// refuse ends the connection because of its input.
func (k *conn) refuse(reason error) {
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	if errors.Is(reason, ErrUnexpected) {
		k.client.stats.Unexpected++
	}
	k.abort(reason)
}
