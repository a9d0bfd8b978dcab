package httpd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/evmq/evmq/httpd/internal/callback"
	"github.com/evmq/evmq/server"
)

// A BroadcastError says that a member of a Group did not accept a broadcast, and why.
type BroadcastError struct {
	Parked *Parked
	Err    error // the reason: one of the errors of Parked.Write
}

// Error returns a text with the operation and the reason. Any goroutine.
func (e BroadcastError) Error() string {
	return fmt.Sprintf("httpd: broadcast to a parked response: %v", e.Err)
}

// Unwrap returns the reason. Any goroutine.
func (e BroadcastError) Unwrap() error { return e.Err }

// Broadcast sends b to each member, as a part of the body of its response, which is begun if it was not. It copies and encodes b once, whatever
// the number of members, and does not wait. The result has an error for each member that has refused b, and is nil if there is none:
// server.ErrFull for a client that is slow, see GroupConfig.KeepSlow, and otherwise the errors of Parked.Write.
//
// done, if not nil, is called once for each of the other members: with nil when b was given to the kernel, or with the reason why it was not,
// as that of Parked.Notify. It must not block. All members get the broadcasts of a Group in one order. Any goroutine.
func (g *Group) Broadcast(b []byte, done func(p *Parked, err error)) (refused []BroadcastError) {
	if len(b) == 0 {
		return nil
	}
	text := encode(b, done)
	g.mu.Lock()
	for _, p := range g.members {
		if err := p.broadcast(text); err != nil {
			refused = append(refused, BroadcastError{p, err})
		}
	}
	g.mu.Unlock()
	if !g.keepSlow {
		callback.Each(refused, func(r BroadcastError) {
			if errors.Is(r.Err, server.ErrFull) {
				g.cutOff(r)
			}
		})
	}
	return refused
}

// Complete is Broadcast and Close in one, as for long polls that wait for the same event: b, which may be empty, is the end of the body of each
// member's response. Each member that refuses it is cut off. The Group is empty afterwards, except for members that were added meanwhile.
//
// done, if not nil, is called once for each of the other members: with nil when all of its response was given to the kernel, or with the reason
// why it was not. It must not block. Any goroutine.
func (g *Group) Complete(b []byte, done func(p *Parked, err error)) (refused []BroadcastError) {
	g.mu.Lock()
	members := g.members
	g.members = nil
	for _, p := range members {
		p.mu.Lock()
		p.group = nil
		p.mu.Unlock()
	}
	g.mu.Unlock()
	callback.Each(members, func(p *Parked) {
		err, reason := p.complete(b, done), context.Canceled
		if err != nil {
			r := BroadcastError{p, err}
			refused, reason = append(refused, r), r
			p.Abort() // otherwise the client would take the response for complete
		}
		g.notifyLeft(p, reason)
	})
	return refused
}

// A broadcastText is the text of a broadcast, as a chunk. Its parts are shared by the members and do not change.
type broadcastText struct {
	chunk []byte
	body  []byte // a part of chunk
	done  func(*Parked, error)
}

// encode returns the broadcastText for b.
func encode(b []byte, done func(*Parked, error)) *broadcastText {
	chunk := strconv.AppendInt(make([]byte, 0, len(b)+12), int64(len(b)), 16)
	chunk = append(chunk, crlf...)
	begin := len(chunk)
	chunk = append(append(chunk, b...), crlf...)
	return &broadcastText{chunk, chunk[begin : begin+len(b) : begin+len(b)], done}
}

// smallBroadcast is the length up to which a broadcast is copied for each member: a list of slices would take more memory.
const smallBroadcast = 512

// broadcast sends a broadcast.
func (p *Parked) broadcast(text *broadcastText) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.mayWrite(); err != nil {
		return err
	}
	switch {
	case p.h2 != nil:
		err := p.h2.writeBody(text.body, text.doneOf(p))
		if err == nil {
			p.h2.flush()
		}
		return err
	case p.resp != nil:
		return p.broadcastFirst(text)
	case p.silent:
		return p.send(nil, text.doneOf(p))
	}
	if err := p.deadlineError(); err != nil {
		return err
	}
	if p.chunked {
		return p.send(text.chunk, text.doneOf(p))
	}
	return p.send(text.body, text.doneOf(p))
}

// broadcastFirst is broadcast for a response that is no stream yet. Under mu.
func (p *Parked) broadcastFirst(text *broadcastText) error {
	return p.output(func() error {
		if _, err := p.resp.Write(text.body); err != nil {
			return err
		}
		return p.resp.FlushError()
	}, text.doneOf(p))
}

// send makes b, which does not change any more, output of the connection. done is called with the outcome, unless send fails. Under mu.
func (p *Parked) send(b []byte, done func(error)) (err error) {
	switch sc := p.c.sc; {
	case len(b) > smallBroadcast:
		err = sc.WriteOwned(b, done)
	case done != nil:
		err = sc.WriteNotify(b, done)
	case len(b) > 0:
		_, err = sc.Write(b)
	}
	return err
}

// complete is Write and Close. done is called with the outcome, unless complete fails.
func (p *Parked) complete(b []byte, done func(*Parked, error)) error {
	p.mu.Lock()
	err := p.endError()
	if err == nil && len(b) > 0 {
		if err = p.mayWrite(); err == nil {
			err = p.write(b)
		}
	}
	if err != nil {
		p.mu.Unlock()
	} else {
		err = p.finish((&broadcastText{done: done}).doneOf(p))
		p.unlockEnded(context.Canceled)
	}
	return err
}

// A delivery calls the done of a broadcast for a member. It is reused, so that a broadcast allocates nothing for each member.
type delivery struct {
	p    *Parked
	done func(*Parked, error)
	fn   func(error) // its method ended
}

var deliveries sync.Pool

// doneOf returns the function that calls done for p; nil if there is none.
func (text *broadcastText) doneOf(p *Parked) func(error) {
	if text.done == nil {
		return nil
	}
	d, ok := deliveries.Get().(*delivery)
	if !ok {
		d = new(delivery)
		d.fn = d.ended
	}
	d.p, d.done = p, text.done
	return d.fn
}

// ended is called with the outcome.
func (d *delivery) ended(err error) {
	p, done := d.p, d.done
	d.p, d.done = nil, nil
	deliveries.Put(d)
	done(p, err)
}
