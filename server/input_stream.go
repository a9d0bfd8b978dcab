package server

import (
	"sync"
	"time"

	"github.com/evmq/evmq/event"
)

// A stream has the bytes that the loop has read while a request is in progress. The loop adds to ahead; the request takes all of ahead and
// consumes it from taken. Most requests have no stream: it is made when a request waits for input, or when the loop reads for a handler with
// CancelOnEOF. When the request has ended, what is left becomes the input of the next one.
//
// The request reads the rest of input.buf first, which stays where it is, since the message is in it.
//
// Under the connection's mu. When the request has ended it belongs to the loop.
type stream struct {
	ahead   []byte // read by the loop
	taken   []byte // taken by the request
	pos     int    // the bytes of taken before it are consumed
	most    int    // the largest argument of Peek
	limit   int    // of ahead, and if the request has asked of the other unread bytes, otherwise of all unread bytes
	counted int    // bytes counted in Server.buffered

	asked bool // the request has waited for input, so that the loop reads
	full  bool // the loop has stopped reading, at the limit or because of leavesToRequest, until cmdInput
	ended bool // no more bytes will come

	isDirect  bool  // the request has read the socket itself; see readNow
	loopReads bool  // the loop is reading the socket
	failed    error // of a read by the request, for the loop

	need      int           // the request waits until so many bytes are there; 0 if it does not wait
	ready     chan struct{} // receives a value when the request has to look again
	waitBegan time.Duration // when the wait began, on the loops' clock
	waited    time.Duration // the time of all waits that have ended

	timer    event.ClockTimer // of SetReadDeadline; nil if it was not called
	deadline time.Duration    // when the timer is due; 0 for none
	expired  bool             // the deadline has passed
	ownLimit bool             // SetReadDeadline was called: ReadTimeout does not count
}

// streamOverhead is the memory of a stream besides its buffers.
const streamOverhead = 256

// maxReadAhead limits the bytes that the loop reads ahead for a request, also if the handler's messages may be longer. With more, the bytes
// would leave the processor's cache before they are used.
const maxReadAhead = readSize

// minSwap is the length from which on bytes are not copied into a stream: the loop exchanges its buffer for another one.
const minSwap = readSize / 8

var streams = sync.Pool{New: func() any { return &stream{ready: make(chan struct{}, 1)} }}

// streamOf returns the stream of an input that was handed over, which is made if there is none. limit is that of the handler. Under mu.
func (in *input) streamOf(limit int) *stream {
	if in.stream == nil {
		in.stream = streams.Get().(*stream)
		in.stream.most, in.stream.limit = limit, max(1, min(limit, maxReadAhead))
	}
	return in.stream
}

// unread returns the number of bytes that the request has not consumed. Under mu.
func (in *input) unread() int {
	n := len(in.buf) - in.pos
	if s := in.stream; s != nil {
		n += len(s.taken) - s.pos + len(s.ahead)
	}
	return n
}

// room returns the number of bytes that the loop may read. Under mu.
func (in *input) room() int {
	s := in.stream
	unread, most := in.unread(), s.limit
	if s.asked {
		most *= 2
	}
	return max(0, min(s.limit-len(s.ahead), most-unread), s.need-unread)
}

// add adds p, which the loop has read into one of its buffers, to ahead. A long p is not copied. Under mu, on the loop.
func (s *stream) add(l *loop, p []byte) {
	n := len(s.ahead) + len(p)
	if n >= minSwap && n <= readSize && cap(s.ahead) < readSize {
		s.ahead = append(takeLarge()[:0], s.ahead...)
	}
	if len(s.ahead) == 0 && n >= minSwap && cap(s.ahead) >= readSize {
		for _, own := range [...]*[]byte{&l.buf, &l.plain} {
			if len(*own) > 0 && &(*own)[0] == &p[0] {
				s.ahead, *own = p, s.ahead[:readSize:readSize]
				return
			}
		}
	}
	s.ahead = append(s.ahead, p...)
}

// take consumes and returns bytes that are there, at most n. Under mu and copying.
func (in *input) take(n int) []byte {
	p := in.rest()
	if len(p) > 0 {
		p = p[:min(n, len(p))]
		in.pos += len(p)
		in.cursor = 0
		return p
	}
	s := in.stream
	if s.pos == len(s.taken) {
		s.exchange()
	}
	p = s.taken[s.pos:]
	p = p[:min(n, len(p))]
	s.pos += len(p)
	return p
}

// peek returns the next n bytes, which are there. Under mu and copying.
func (in *input) peek(n int) []byte {
	p := in.rest()
	if len(p) >= n {
		return p[:n:n]
	}
	s := in.stream
	in.moveRest()
	switch left := len(s.taken) - s.pos; {
	case left >= n:
	case left == 0:
		s.exchange()
	default:
		s.taken = append(s.taken[:copy(s.taken, s.taken[s.pos:])], s.ahead...)
		s.pos, s.ahead = 0, s.ahead[:0]
	}
	return s.taken[s.pos:][:n:n]
}

// moveRest moves the rest of buf to taken. Under mu and copying.
func (in *input) moveRest() {
	if p := in.rest(); len(p) > 0 { // taken is empty
		in.stream.taken, in.stream.pos = append(in.stream.taken[:0], p...), 0
		in.pos, in.cursor = len(in.buf), 0
	}
}

// exchange takes all of ahead, when all of taken is consumed. Under mu and copying.
func (s *stream) exchange() { s.taken, s.ahead, s.pos = s.ahead, s.taken[:0], 0 }

// wake makes a request that waits look again. Under mu.
func (s *stream) wake() {
	if s.need > 0 {
		select {
		case s.ready <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// endWait ends the wait of the request at the time now. Under mu.
func (s *stream) endWait(now time.Duration) {
	if s.need > 0 {
		s.need = 0
		s.waited += max(0, now-s.waitBegan)
	}
}

// wakeStream is wake for a request that may have no stream. Under mu.
func (in *input) wakeStream() {
	if in.stream != nil {
		in.stream.wake()
	}
}

// endReading is called when a reply has ended: its Input accepts no more calls, and those that run have ended. Under mu.
func (in *input) endReading() {
	if !in.usesInput {
		return
	}
	in.usesInput = false
	in.copying.Lock() // not for long: it is held for a copy only
	s := in.stream
	in.copying.Unlock()
	if s == nil {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.need > 0 { // a goroutine that outlives the request waits; it keeps the channel
		s.wake()
		s.need, s.ready = 0, make(chan struct{}, 1)
	}
	s.asked, s.waited = false, 0
	s.deadline, s.expired, s.ownLimit = 0, false, false
}

// dropAhead discards what the request has not taken. Under mu.
func (s *stream) dropAhead() {
	if cap(s.ahead) >= readSize {
		giveLarge(s.ahead)
	}
	s.ahead = nil
}

// count counts the memory of the stream of a request of c in Server.buffered, and returns its growth. Under mu.
func (s *stream) count(c *Conn) (grown int) {
	n := cap(s.ahead) + cap(s.taken) + streamOverhead
	grown = n - s.counted
	c.loop.srv.addBuffered(grown)
	s.counted = n
	return grown
}

// uncountStream ends the counting of the stream. Under mu, or when the request has ended.
func (in *input) uncountStream() {
	if s := in.stream; s != nil {
		in.reply.c.loop.srv.addBuffered(-s.counted)
		s.counted = 0
	}
}

// mergeStream makes what the request has left in the stream a part of the input, and frees the stream. On the loop, when the request has
// ended.
func (c *loopConn) mergeStream(in *input) {
	s := in.stream
	if s == nil {
		return
	}
	if c.draining.isDraining() {
		c.countLateRead(0) // otherwise requests that follow each other could delay a shutdown
	}
	if s.isDirect {
		c.deadlines.received(c.loop.now())
	}
	if left := s.taken[s.pos:]; len(in.rest()) == 0 && len(left)+len(s.ahead) > 0 {
		old := in.buf
		if len(left) > 0 {
			in.buf, in.pos, s.taken = s.taken, s.pos, nil
		} else {
			in.buf, in.pos, s.ahead = s.ahead, 0, nil
		}
		in.replaced(old)
	}
	if len(s.ahead) > 0 {
		in.add(s.ahead)
	}
	c.freeStream(in)
}

// freeStream discards the stream.
func (c *loopConn) freeStream(in *input) {
	s := in.stream
	if s == nil {
		return
	}
	in.uncountStream()
	in.stream = nil
	for _, buf := range [...][]byte{s.ahead, s.taken} {
		if cap(buf) >= readSize {
			giveLarge(buf)
		}
	}
	if s.timer != nil { // its function may still run
		return
	}
	select {
	case <-s.ready:
	default:
	}
	*s = stream{ready: s.ready}
	streams.Put(s)
}
