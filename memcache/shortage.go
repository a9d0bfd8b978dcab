package memcache

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/memcache/store"
	"github.com/evmq/evmq/server"
)

// Large values are sent from the store's memory, which is not free before the client has read them. Where too much of it is lent for
// a value to be stored, the value waits: for what comes back by itself, and for connections that are closed because they have
// not taken a byte for a while, the longest first. When nothing comes back for longer, the slowest of the others are closed, too.
// Only when there is none left is the value refused.
const (
	stalledAfter = time.Second     // without a byte a connection is closed, when others need the memory
	longestWait  = 3 * time.Second // of a value, before any connection is closed, or it is refused
	retryAfter   = 250 * time.Millisecond
)

// shortage is what is known of connections that have been lent memory.
type shortage struct {
	mu       sync.Mutex // of all below
	progress map[*server.Conn]progress
	leases   []store.Holding // for reuse
}

// progress is how far a connection has come.
type progress struct {
	written uint64    // bytes
	moved   time.Time // when the number was last seen to have changed
	cut     bool      // it is being closed
}

// wait has the session's request wait for memory of the key's, and the connection's input with it. The wait that it returns is to be told when
// memory has come back. It is nil if the request has waited long enough, and there is no memory that could come back.
func (s *session) wait(key []byte, bytes int) *wait {
	w := s.w
	c := w.conn
	if c == nil {
		return nil // of a datagram, which nothing follows
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

// extend says whether the request may join n bytes to the value of a key now. If not, it waits.
func (s *session) extend(key []byte, n int) bool {
	returns, err := s.w.store.Extend(key, n)
	if err == nil {
		s.since = time.Time{}
		return true
	}
	p := s.wait(key, n)
	if p == nil {
		return true // and is refused
	}
	s.w.store.Wait(key, returns, p.over)
	return false
}

// A wait is a pause of a connection whose value waits for memory. The first thing that ends it resumes the connection; what comes
// later must not, since the connection may be paused for another reason by then.
type wait struct {
	conn  *server.Conn
	ended atomic.Bool
	timer *time.Timer
}

// over has the value tried again. Any goroutine.
func (p *wait) over() {
	if p.ended.CompareAndSwap(false, true) {
		p.conn.ResumeRead()
	}
}

// end ends the wait of a connection that is gone.
func (p *wait) end() {
	p.ended.Store(true)
	p.timer.Stop()
}

// makeWay closes connections that have been lent memory in the part of the store that a key belongs to: of those that have stalled, or of all
// if it is late, the slowest, as many as have been lent what is needed. It says whether any is being closed.
func (c *Cache) makeWay(own *server.Conn, key []byte, bytes int, now time.Time, late bool) (closing bool) {
	g := &c.shortage
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leases = c.store.Leases(key, g.leases[:0])
	g.look(g.leases, now)
	type holder struct {
		conn  *server.Conn
		bytes int64
	}
	var holders []holder
	need := int64(bytes)
	for _, l := range g.leases {
		conn := l.Holder.(*server.Conn)
		switch p := g.progress[conn]; {
		case p.cut:
			need -= l.Bytes
			closing = true
		case conn == own: // whose client has sent a value before it has read its answers
		case late || now.Sub(p.moved) >= stalledAfter:
			i := slices.IndexFunc(holders, func(h holder) bool { return h.conn == conn })
			if i < 0 {
				i = len(holders)
				holders = append(holders, holder{conn: conn})
			}
			holders[i].bytes += l.Bytes
		}
	}
	slices.SortStableFunc(holders, func(a, b holder) int { return g.progress[a.conn].moved.Compare(g.progress[b.conn].moved) })
	for _, h := range holders {
		if need <= 0 {
			break
		}
		need -= h.bytes
		p := g.progress[h.conn]
		p.cut = true
		g.progress[h.conn] = p
		c.cutOff.Add(1)
		if c.verbosity.Load() > 0 {
			c.log.Warn("memcache: a connection that does not read is closed: its memory is needed", "conn", h.conn.ID(),
				"peer", h.conn.RemoteAddr(), "bytes", h.bytes, "stalled", now.Sub(p.moved).Round(time.Millisecond))
		}
		h.conn.Abort()
		closing = true
	}
	return closing
}

// look notes which of those that have been lent memory have made progress. Under mu.
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

// lookAround notes the progress of all connections that have been lent memory, and forgets those that have returned it.
func (c *Cache) lookAround(now time.Time) {
	g := &c.shortage
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leases = c.store.AllLeases(g.leases[:0])
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
