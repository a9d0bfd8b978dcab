package memcache

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/server"
)

// A large value is sent from the store's memory, which is not free until the client has read it. If too much memory is lent in this way, a
// request to store a value waits. Connections that have not read a byte for stalledAfter are closed, the longest stalled first, and no more
// than necessary. If the request still has no memory after longestWait, the slowest of the other connections are closed as well. It is refused
// when no such connection is left.
//
// A large value is also received into the store's memory. Connections that have begun to send one and have not sent a byte for stalledAfter are
// closed in the same way. If there are none, the request does not wait for the others.
const (
	stalledAfter = time.Second
	longestWait  = 3 * time.Second
	retryAfter   = 250 * time.Millisecond // a waiting request is tried again even if no memory has been returned
	maxGap       = 2 * tick               // between two observations of a connection: see progress.observe
)

// shortage is the state of connections that have been lent memory.
type shortage struct {
	mu       sync.Mutex    // guards the fields below
	after    time.Duration // stalledAfter, except in tests
	progress map[holds]progress
	lists    []holding       // for reuse
	asked    []store.Holding // for reuse
}

// holds is a connection with memory of the store: for a value that it sends, or for values that it is to read.
type holds struct {
	conn  *server.Conn
	sends bool
}

// holding is an amount of memory.
type holding struct {
	holds
	memory int64 // bytes
}

// passed returns the number of bytes transferred in the direction that frees memory.
func (h holds) passed() uint64 {
	if h.sends {
		return h.conn.Stats().BytesRead
	}
	return h.conn.Stats().BytesWritten
}

// progress is the transfer of a connection so far.
type progress struct {
	bytes   uint64
	stalled time.Duration // time in which observations have found no change of bytes
	seen    time.Time     // the last observation
	closing bool          // the connection is being closed
}

// observe records the number of bytes transferred by now. The time since the last observation counts as at most maxGap: if observations were not made
// for longer, the program was paused or had no processor, and so could not transfer anything itself.
func (p *progress) observe(bytes uint64, now time.Time) {
	if p.seen.IsZero() || bytes != p.bytes {
		p.bytes, p.stalled = bytes, 0
	} else {
		p.stalled += min(now.Sub(p.seen), maxGap)
	}
	p.seen = now
}

// wait pauses the connection, whose request waits for memory of a key's shard after the store's error. The caller arranges for over to be
// called when memory has been returned. The result is nil if the request is not to wait, or not longer.
func (s *session) wait(err error, key []byte, bytes int) *wait {
	lent := errors.Is(err, store.ErrLent)
	if !lent && !errors.Is(err, store.ErrReceived) {
		return nil
	}
	w := s.w
	c := w.conn
	if c == nil {
		return nil // a datagram cannot wait
	}
	now := time.Now()
	if s.waitingSince.IsZero() {
		s.waitingSince = now
	}
	late := now.Sub(s.waitingSince) > longestWait
	if !w.closeSlow(c, key, bytes, now, late) && (late || !lent) {
		s.waitingSince = time.Time{}
		return nil
	}
	c.PauseRead(pauseForMemory)
	w.paused = true
	s.lastWait = &wait{conn: c}
	s.lastWait.timer = time.AfterFunc(retryAfter, s.lastWait.over)
	return s.lastWait
}

// extend reports whether the request may append or prepend n bytes to the value of a key now. If not, the request waits.
func (s *session) extend(key []byte, n int) bool {
	returns, err := s.w.store.Extend(key, n)
	if err == nil {
		s.waitingSince = time.Time{}
		return true
	}
	p := s.wait(err, key, n)
	if p == nil {
		return true // and the store refuses it
	}
	s.w.store.Wait(key, returns, p.over)
	return false
}

// pauseOwner is the owner of a pause of reading.
type pauseOwner string

const (
	pauseForMemory pauseOwner = "memory"
	pauseForDump   pauseOwner = "dump"
)

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
		p.conn.ResumeRead(pauseForMemory)
	}
}

// end ends the wait of a connection that has been closed.
func (p *wait) end() {
	p.ended.Store(true)
	p.timer.Stop()
}

// holder is a connection that may be closed, and the amount of memory that this frees.
type holder struct {
	holds
	bytes   int64
	stalled time.Duration
}

// closeSlow closes connections that have memory of a key's shard, the slowest first, until the given number of bytes is about to be
// returned. It closes only stalled connections, unless late is set: then also others that are to read. It reports whether any connection is
// being closed.
func (c *Cache) closeSlow(own *server.Conn, key []byte, bytes int, now time.Time, late bool) (closing bool) {
	slow, closing := c.chooseSlow(own, key, int64(bytes), now, late)
	for _, h := range slow {
		why := "it does not read"
		if h.sends {
			why = "it does not send the rest of a value"
			c.slowWriters.Add(1)
		} else {
			c.slowReaders.Add(1)
		}
		if c.verbosity.Load() > 0 {
			c.log.Warn("memcache: connection closed because "+why+" and its memory is needed", "conn", h.conn.ID(),
				"peer", h.conn.RemoteAddr(), "bytes", h.bytes, "stalled", h.stalled.Round(time.Millisecond))
		}
		h.conn.Abort()
	}
	return closing
}

// chooseSlow returns the connections that closeSlow closes. closing is true if any connection, including one chosen earlier, is about to return
// memory. The connection of the request itself is not chosen: a client may send a value before it reads its answers.
func (c *Cache) chooseSlow(own *server.Conn, key []byte, need int64, now time.Time, late bool) (slow []holder, closing bool) {
	g := &c.shortage
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list(func(to []store.Holding) []store.Holding { return c.store.Leases(key, to) },
		func(to []store.Holding) []store.Holding { return c.store.Receiving(key, to) })
	all, need, closing := g.mayClose(own, need, now, late)
	slices.SortStableFunc(all, func(a, b holder) int { return cmp.Compare(b.stalled, a.stalled) })
	for n := 0; n < len(all) && need > 0; n++ {
		need -= all[n].bytes
		p := g.progress[all[n].holds]
		p.closing = true
		g.progress[all[n].holds] = p
		slow, closing = all[:n+1], true
	}
	return slow, closing
}

// mayClose returns the connections that may be closed, the number of bytes needed beside those of connections that are being closed, and whether
// there are such connections. mu must be held.
func (g *shortage) mayClose(own *server.Conn, need int64, now time.Time, late bool) (all []holder, left int64, closing bool) {
	g.look(g.lists, now)
	for _, l := range g.lists {
		p := g.progress[l.holds]
		stalled := p.stalled
		switch {
		case p.closing:
			need -= l.memory
			closing = true
		case l.conn != own && (stalled >= g.after || late && !l.sends):
			i := slices.IndexFunc(all, func(h holder) bool { return h.holds == l.holds })
			if i < 0 {
				i = len(all)
				all = append(all, holder{holds: l.holds, stalled: stalled})
			}
			all[i].bytes += l.memory
		}
	}
	return all, need, closing
}

// look records which connections that have memory have made progress. mu must be held.
func (g *shortage) look(list []holding, now time.Time) {
	for _, l := range list {
		p := g.progress[l.holds]
		p.observe(l.passed(), now)
		g.progress[l.holds] = p
	}
}

// recordProgress records the progress of all connections that have memory, and forgets the others.
func (c *Cache) recordProgress(now time.Time) {
	g := &c.shortage
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list(c.store.AllLeases, c.store.AllReceiving)
	if len(g.lists)+len(g.progress) == 0 {
		return
	}
	before := g.progress
	g.progress = make(map[holds]progress, len(g.lists))
	for _, l := range g.lists {
		if p, ok := before[l.holds]; ok {
			g.progress[l.holds] = p
		}
	}
	g.look(g.lists, now)
	clear(g.lists)
}

// list asks the store which connections have memory. Under mu.
func (g *shortage) list(leases, receiving func([]store.Holding) []store.Holding) {
	g.lists = g.lists[:0]
	for i, ask := range []func([]store.Holding) []store.Holding{leases, receiving} {
		g.asked = ask(g.asked[:0])
		for _, h := range g.asked {
			if conn, _ := h.Holder.(*server.Conn); conn != nil { // a datagram has none
				g.lists = append(g.lists, holding{holds{conn, i == 1}, h.Bytes})
			}
		}
		clear(g.asked)
	}
}
