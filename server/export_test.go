package server

import (
	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/tick"
)

// EventLoops returns the server's loops. After Start.
func EventLoops(s *Server) (all []*event.Loop) {
	for _, l := range s.loops {
		all = append(all, l.ev)
	}
	return all
}

// SetCalls makes s call c instead of the kernel. Before Start.
func (s *Server) SetCalls(c sock.Calls) { s.calls = c }

// SetMaxFiles sets how many files may wait to be sent beside the first of each connection, and how many attempts to connect may be
// under way besides one for each Dial. Before there are any.
func SetMaxFiles(s *Server, n int64) { s.cfg.maxFiles = n }

// Attempts returns the number of attempts to connect that are under way, besides one for each Dial.
func Attempts(s *Server) int64 { return s.attempts.Load() }

// WaitingHandshakes returns how many handshakes wait for a place among MaxHandshakes.
func WaitingHandshakes(s *Server) int {
	s.handshakes.mu.Lock()
	defer s.handshakes.mu.Unlock()
	return s.handshakes.waiting.Len()
}

// WaitingFiles returns how many files wait to be sent.
func WaitingFiles(s *Server) int64 { return s.files.Load() }

// CallOnLoop makes calls that only the goroutine of the connection's loop may make: the begin of the work on a connection, and that of a
// function for the loop.
func CallOnLoop(c *Conn) []func() {
	return []func(){func() { c.loop.setCurrent(c.loopPart()) }, func() { c.loop.runTask(func() {}) }}
}

// AssertsLoop reports whether this is a race build, in which methods that are loop only check the goroutine.
const AssertsLoop = assertsLoop

// BeganOnLoop reports whether the function of the reply was called by the leader of the loop. On the function's goroutine, before it returns.
func BeganOnLoop(w Reply) bool { return w.in.leader != nil }

// StopTicks keeps the tick of the process from the server's loops. The test calls Tick in its place. After Start.
func StopTicks(s *Server) {
	for _, l := range s.loops {
		tick.Process.Unwatch(l)
	}
}

// Tick is one tick for all loops of the server. One call at a time.
func Tick(s *Server, late bool) (busy bool) {
	for _, l := range s.loops {
		busy = l.Tick(late) || busy
	}
	return busy
}

// OutgoingConns returns how many connections that were dialled have not ended.
func OutgoingConns(s *Server) int { return s.open.len() - s.incoming.len() }

// IsEnding reports whether a shutdown has begun.
func IsEnding(s *Server) bool { return s.ending.Load() }

// RunningHandshakes returns how many handshakes run.
func RunningHandshakes(s *Server) int { return s.handshakes.len() }

// WaitsForInput reports whether the request of c in progress waits for input, for which the loop reads. On the loop.
func WaitsForInput(c *Conn) bool {
	p := c.loopPart()
	c.mu.Lock()
	defer c.mu.Unlock()
	return p.holds.has(holdWorker) && !p.holds.has(holdInput) && p.in.stream.need > 0
}

// IsDraining reports whether a shutdown has reached the connection.
func IsDraining(c *Conn) bool {
	draining := make(chan bool)
	c.loop.do(func() { draining <- c.loopPart().draining.isDraining() })
	return <-draining
}

// IsThrottled reports whether the rate limits hold the connection.
func IsThrottled(c *Conn) bool {
	throttled := make(chan bool)
	c.loop.do(func() { throttled <- c.loopPart().isThrottled() })
	return <-throttled
}

// HasReadEnd reports whether the end of the peer's half was read.
func HasReadEnd(c *Conn) bool {
	read := make(chan bool)
	c.loop.do(func() { read <- c.loopPart().peerHalf.isEndRead() })
	return <-read
}

// IsFull reports whether the loop has stopped reading at the limit of the request in progress.
func IsFull(c *Conn) bool {
	full := make(chan bool)
	c.loop.do(func() { full <- c.loopPart().holds.has(holdInput) && c.loopPart().in.stream != nil })
	return <-full
}

// WaitsForRoom reports whether a write to a reply of c waits for room in the output.
func WaitsForRoom(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ext != nil && c.ext.room != nil
}

// HasExt reports whether the connection has an ext.
func HasExt(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ext != nil
}

// SpareQueues returns how many empty queues the loop of c has for the answers of requests on workers.
func SpareQueues(c *Conn) int {
	n := make(chan int)
	c.loop.do(func() { n <- len(c.loop.spares) })
	return <-n
}

// HoldLeaders keeps goroutines from becoming leaders, in all servers of the process, until release is called. Meanwhile the goroutine that
// calls it must not use Server.Blocking or DialContext.
func HoldLeaders() (release func()) {
	leaders.mu.Lock()
	return leaders.mu.Unlock
}
