package server

import (
	"iter"
	"sync/atomic"

	"github.com/evmq/evmq/event"
)

// totals has the counters of a server that are not kept for each loop.
type totals struct {
	opened, closed                      atomic.Uint64
	accepted                            atomic.Uint64
	refused, busy, acceptErrors, pauses atomic.Uint64
	full                                atomic.Uint64
	handshakes, failedHandshakes        atomic.Uint64
	ended                               [numCloseReasons]atomic.Uint64
}

// traffic has the counters of a loop's connections, including closed ones. The loop counts bytes, once in a turn; workers count requests.
type traffic struct {
	read, written atomic.Uint64
	_             [64]byte // the counter of workers has its own cache line
	requests      atomic.Uint64
	_             [64]byte
}

// countTraffic adds the bytes that were read and written since its last call to traffic. It is called when the loop has worked on
// connections and works on none, before it sleeps. On the loop.
func (l *loop) countTraffic() {
	r := &l.running
	if r.read > 0 {
		l.traffic.read.Add(r.read)
	}
	if r.written > 0 {
		l.traffic.written.Add(r.written)
	}
	r.read, r.written = 0, 0
}

// Stats has the counters and gauges of a server. Counters, and MaxQueuedRequests, only grow. The gauges are OpenConns, BufferedBytes,
// QueuedRequests, RunningRequests and DeferredReplies, Queued, Running and Backlog of ExecutorStats, OpenConns and QueuedConns of
// LoopStats, and those of event.Stats.
type Stats struct {
	OpenConns int     // connections that are open, or whose requests are in progress
	Opened    uint64  // calls of Handler.Open
	Closed    uint64  // calls of Handler.Close after Open
	Ended     Endings // connections that have ended, by reason, including those that ended before Open
	Accepted  uint64  // connections accepted by listeners, including those that were refused
	Refused   uint64  // connections refused because of MaxConns or because descriptors were short

	// BytesRead counts bytes received, after decryption, including those that handlers have not been given yet; discarded bytes do not
	// count. BytesWritten counts bytes given to the kernel, before encryption. A loop adds those of a turn when the turn ends.
	BytesRead    uint64
	BytesWritten uint64

	Requests      uint64 // requests that RequestHandlers have answered, on workers or on the loops; refused requests do not count
	Busy          uint64 // requests refused because the workers' queue, or another Executor, was full
	Full          uint64 // writes refused with ErrFull
	BufferedBytes int64  // output and input that the server holds, as MaxBuffered counts it

	Expired           uint64 // requests refused because of QueueTimeout
	QueuedRequests    int    // requests that wait for a worker, or in another Executor
	MaxQueuedRequests int    // the largest number so far that has waited for a worker of the server
	RunningRequests   int    // handlers that run on workers or in another Executor, including those that have lost a loop to another goroutine
	DeferredReplies   int    // replies that Reply.Defer keeps open after their functions have returned

	Handshakes       uint64 // TLS handshakes that were completed
	FailedHandshakes uint64 // TLS handshakes that failed or did not end in time

	AcceptErrors uint64 // accepts that failed
	Pauses       uint64 // times that a listener paused because descriptors or memory were short

	Executors []ExecutorStats // of each Executor: first of the server's own pool, then by name
	Loops     []LoopStats     // of each loop, in the order of Server.Loops
}

// LoopStats has the counters and gauges of one loop of a server.
type LoopStats struct {
	OpenConns   int         // connections of the loop
	QueuedConns int         // connections that wait in the loop's queue, with output or a command
	Loop        event.Stats // of the event loop: turns, wakes, lag, busy time
}

// Stats returns the current counters and gauges. They are not read at exactly the same time. Before Start all
// are zero. Any goroutine.
func (s *Server) Stats() Stats {
	t := &s.totals
	closed := t.closed.Load() // before opened, so that it is never larger
	st := Stats{
		OpenConns: s.open.len(), Opened: t.opened.Load(), Closed: closed, Refused: t.refused.Load(), Busy: t.busy.Load(),
		Accepted: t.accepted.Load(), BufferedBytes: s.buffered.Load(), DeferredReplies: int(s.deferrals.Load()),
		Handshakes: t.handshakes.Load(), FailedHandshakes: t.failedHandshakes.Load(),
		AcceptErrors: t.acceptErrors.Load(), Pauses: t.pauses.Load(), Full: t.full.Load(),
	}
	for i := range t.ended {
		st.Ended[i] = t.ended[i].Load()
	}
	s.mu.Lock()
	executors, loops := s.executors, s.loops
	started := s.pool != nil
	s.mu.Unlock()
	if started {
		st.addExecutors(executors)
	}
	for _, l := range loops {
		st.BytesRead += l.traffic.read.Load()
		st.BytesWritten += l.traffic.written.Load()
		st.Requests += l.traffic.requests.Load()
		st.Loops = append(st.Loops, LoopStats{OpenConns: int(l.count.Load()), QueuedConns: l.queue.Len(), Loop: l.ev.Stats()})
	}
	return st
}

// Conns returns an iterator over the open connections. Connections that begin or end meanwhile may be left out or included. Those whose
// Open has not been called, for example during a TLS handshake, are left out. Any goroutine.
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
