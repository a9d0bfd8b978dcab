package server

import (
	"iter"
	"sync/atomic"

	"github.com/evmq/evmq/event"
)

// totals are what a server counts besides its connections' own counts.
type totals struct {
	opened, closed                      atomic.Uint64
	accepted                            atomic.Uint64
	refused, busy, acceptErrors, pauses atomic.Uint64
	full                                atomic.Uint64
	handshakes, failedHandshakes        atomic.Uint64
	ended                               [numCloseReasons]atomic.Uint64
}

// traffic is what the connections of a loop have moved since it began, those that are closed included. Its loop counts bytes, workers
// count requests.
type traffic struct{ read, written, requests atomic.Uint64 }

// Stats counts what has happened to a server. Unless a comment says "now", a count only grows.
type Stats struct {
	Conns    int     // connections that are open now, or whose requests are still in work
	Opened   uint64  // calls of Handler.Open
	Closed   uint64  // calls of Handler.Close
	Ended    Endings // connections that have ended, by reason; those that never were opened are among them
	Accepted uint64  // connections accepted by listeners, those that were refused included
	Refused  uint64  // connections above MaxConns, or refused for want of descriptors

	BytesRead    uint64 // given to handlers, decrypted
	BytesWritten uint64 // given to the kernel, before encryption
	Requests     uint64 // answered by workers; those that were refused are not
	Busy         uint64 // requests refused because the workers' queue was full
	Full         uint64 // writes refused with ErrFull
	Buffered     int64  // bytes of output and of input that the server holds now, as MaxBuffered counts them

	Waiting    int // requests that wait for a worker now
	MaxWaiting int // the most that ever did
	Running    int // handlers that run on workers now

	Handshakes       uint64 // TLS handshakes that were completed
	FailedHandshakes uint64

	AcceptErrors uint64 // accepts that failed
	Pauses       uint64 // times that a listener rested because descriptors or memory were short

	Loops []LoopStats
}

// LoopStats counts what has happened on one loop.
type LoopStats struct {
	Conns int         // its connections now
	Loop  event.Stats // of the loop itself: turns, wakes, lag, busy time
	Queue int         // connections in its queue now
}

// Stats returns the counts of this moment. Any goroutine.
func (s *Server) Stats() Stats {
	t := &s.totals
	st := Stats{
		Conns: s.open.len(), Opened: t.opened.Load(), Closed: t.closed.Load(), Refused: t.refused.Load(), Busy: t.busy.Load(),
		Accepted: t.accepted.Load(), Buffered: s.buffered.Load(),
		Handshakes: t.handshakes.Load(), FailedHandshakes: t.failedHandshakes.Load(),
		AcceptErrors: t.acceptErrors.Load(), Pauses: t.pauses.Load(), Full: t.full.Load(),
	}
	for i := range t.ended {
		st.Ended[i] = t.ended[i].Load()
	}
	s.mu.Lock()
	pool, loops := s.pool, s.loops
	s.mu.Unlock()
	if pool != nil {
		n := pool.Counts()
		st.Waiting, st.MaxWaiting, st.Running = n.Waiting, n.MaxWaiting, n.Running
	}
	for _, l := range loops {
		st.BytesRead += l.traffic.read.Load()
		st.BytesWritten += l.traffic.written.Load()
		st.Requests += l.traffic.requests.Load()
		st.Loops = append(st.Loops, LoopStats{Conns: int(l.count.Load()), Loop: l.ev.Stats(), Queue: l.queue.Len()})
	}
	return st
}

// Conns goes through the connections that are open as it comes by. Those whose Open is still to be called, as during a TLS
// handshake, are left out. Any goroutine.
func (s *Server) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for c := range s.conns.all() {
			c.mu.Lock()
			unopened := c.isUnopened()
			c.mu.Unlock()
			if !unopened && !yield(&c.Conn) {
				return
			}
		}
	}
}
