package memcache

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/memcache/store"
	"github.com/evmq/evmq/server"
)

// A large value is sent from the store's memory, which is not free until the client has read it. If too much memory is lent in this way, a
// request to store a value waits. Connections that have not read a byte for stalledAfter are closed, the longest stalled first, and no more
// than necessary. If the request still has no memory after longestWait, the slowest of the other connections are closed as well. It is refused
// when no such connection is left.
const (
	stalledAfter = time.Second
	longestWait  = 3 * time.Second
	retryAfter   = 250 * time.Millisecond // a waiting request is tried again even if no memory has been returned
)

// shortage is the state of connections that have been lent memory.
type shortage struct {
	mu       sync.Mutex // guards the fields below
	progress map[*server.Conn]progress
	leases   []store.Holding // for reuse
}

// progress is the output of a connection so far.
type progress struct {
	written uint64    // bytes
	moved   time.Time // when a change of written was last observed
	closing bool      // the connection is being closed
}

// wait pauses the connection, whose request waits for memory of a key's shard. The caller arranges for over to be called when memory has been
// returned. The result is nil if the request is not to wait longer.
func (s *session) wait(key []byte, bytes int) *wait {
	w := s.w
	c := w.conn
	if c == nil {
		return nil // a datagram cannot wait
	}
	now := time.Now()
	if s.since.IsZero() {
		s.since = now
	}
	late := now.Sub(s.since) > longestWait
	if !w.makeWay(c, key, bytes, now, late) && late {
		s.since = time.Time{}
		return nil
	}
	c.PauseRead()
	w.paused = true
	s.waits = &wait{conn: c}
	s.waits.timer = time.AfterFunc(retryAfter, s.waits.over)
	return s.waits
}

// extend reports whether the request may append or prepend n bytes to the value of a key now. If not, the request waits.
func (s *session) extend(key []byte, n int) bool {
	returns, err := s.w.store.Extend(key, n)
	if err == nil {
		s.since = time.Time{}
		return true
	}
	p := s.wait(key, n)
	if p == nil {
		return true // and the store refuses it
	}
	s.w.store.Wait(key, returns, p.over)
	return false
}

// A wait is a pause of a connection whose request waits for memory. Only the first of the events that end it resumes the connection:
// later the connection may be paused for another reason.
type wait struct {
	conn  *server.Conn
	ended atomic.Bool
	timer *time.Timer
}

// over resumes the connection, whose request is tried again then. Any goroutine.
func (p *wait) over() {
	if p.ended.CompareAndSwap(false, true) {
		p.conn.ResumeRead()
	}
}

// end ends the wait of a connection that has been closed.
func (p *wait) end() {
	p.ended.Store(true)
	p.timer.Stop()
}

// holder is a connection that may be closed, and the memory that it has been lent.
type holder struct {
	conn    *server.Conn
	bytes   int64
	stalled time.Duration
}

// makeWay closes connections that have been lent memory of a key's shard, the slowest first, until the given number of bytes is about to be
// returned. It closes only stalled connections unless late is set. It reports whether any connection is being closed.
func (c *Cache) makeWay(own *server.Conn, key []byte, bytes int, now time.Time, late bool) (closing bool) {
	slow, closing := c.chooseSlow(own, key, int64(bytes), now, late)
	for _, h := range slow {
		c.cutOff.Add(1)
		if c.verbosity.Load() > 0 {
			c.log.Warn("memcache: connection closed because it does not read and its memory is needed", "conn", h.conn.ID(),
				"peer", h.conn.RemoteAddr(), "bytes", h.bytes, "stalled", h.stalled.Round(time.Millisecond))
		}
		h.conn.Abort()
	}
	return closing
}

// chooseSlow returns the connections that makeWay closes. closing is true if any connection, including one chosen earlier, is about to return
// memory. The connection of the request itself is not chosen: a client may send a value before it reads its answers.
func (c *Cache) chooseSlow(own *server.Conn, key []byte, need int64, now time.Time, late bool) (slow []holder, closing bool) {
	g := &c.shortage
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leases = c.store.Leases(key, g.leases[:0])
	g.look(g.leases, now)
	var all []holder
	for _, l := range g.leases {
		conn := l.Holder.(*server.Conn)
		p := g.progress[conn]
		stalled := now.Sub(p.moved)
		switch {
		case p.closing:
			need -= l.Bytes
			closing = true
		case conn != own && (late || stalled >= stalledAfter):
			i := slices.IndexFunc(all, func(h holder) bool { return h.conn == conn })
			if i < 0 {
				i = len(all)
				all = append(all, holder{conn: conn, stalled: stalled})
			}
			all[i].bytes += l.Bytes
		}
	}
	slices.SortStableFunc(all, func(a, b holder) int { return cmp.Compare(b.stalled, a.stalled) })
	for n := 0; n < len(all) && need > 0; n++ {
		need -= all[n].bytes
		p := g.progress[all[n].conn]
		p.closing = true
		g.progress[all[n].conn] = p
		slow, closing = all[:n+1], true
	}
	return slow, closing
}

// look records which connections with leases have made progress. mu must be held.
func (g *shortage) look(leases []store.Holding, now time.Time) {
	for _, l := range leases {
		conn := l.Holder.(*server.Conn)
		p, known := g.progress[conn]
		if written := conn.Stats().BytesWritten; !known || written != p.written {
			p.written, p.moved = written, now
			g.progress[conn] = p
		}
	}
}

// lookAround records the progress of all connections with leases, and forgets connections without leases.
func (c *Cache) lookAround(now time.Time) {
	g := &c.shortage
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leases = c.store.AllLeases(g.leases[:0])
	if len(g.leases)+len(g.progress) == 0 {
		return
	}
	before := g.progress
	g.progress = make(map[*server.Conn]progress, len(g.leases))
	for _, l := range g.leases {
		conn := l.Holder.(*server.Conn)
		if p, ok := before[conn]; ok {
			g.progress[conn] = p
		}
	}
	g.look(g.leases, now)
	clear(g.leases)
}
