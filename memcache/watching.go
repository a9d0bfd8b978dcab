package memcache

import (
	"errors"
	"io"
	"net"

	"github.com/evmq/evmq/memcache/internal/watch"
	"github.com/evmq/evmq/memcache/protocol"
	"github.com/evmq/evmq/memcache/store"
	"github.com/evmq/evmq/server"
)

// leastLog is the least that a buffer for the watch command's lines holds, in bytes: several lines.
const leastLog = 4 << 10

// textWatch serves watch: from then on the connection is given lines about what the cache does, and its input is thrown away.
func (w *worker) textWatch() {
	words := w.req.Args[1:]
	events, known := watch.Parse(words)
	switch {
	case len(words) > 0 && string(words[len(words)-1]) == "noreply": // no name of events, and the error is not wanted
	case w.config.NoWatch:
		w.line("CLIENT_ERROR watch commands not allowed")
	case w.conn == nil: // a datagram: there is no answer
		w.quit = true
	case w.unflushed:
		w.line("ERROR cannot pipeline other commands before watch")
	case !known:
		w.line(string(protocol.Unknown))
	default:
		w.watch(events)
	}
}

// watch makes the connection a watcher. The answer is written before the first line can come.
func (w *worker) watch(events watch.Events) {
	const failed = "WATCHER_FAILED failed to add log watcher"
	s, ok := w.conn.Data().(*session)
	if !ok || w.full || w.failed {
		w.line(failed)
		return
	}
	if w.hub.Watchers() >= watch.MaxWatchers {
		w.line(tooManyWatchers)
		return
	}
	w.line("OK")
	if w.flush(); w.full || w.failed {
		w.quit = true
		return
	}
	watcher, err := w.hub.Add(sink{w.conn}, events)
	if err != nil { // another loop's client has come first
		w.line(tooManyWatchers)
		w.quit = true
		return
	}
	s.watcher = watcher
	s.state.Store(uint32(stateWatch))
	w.conn.SetTimeouts(server.Timeouts{Idle: -1, Read: -1, FirstRequest: -1}) // it says nothing more
}

const tooManyWatchers = "WATCHER_TOO_MANY log watcher limit reached"

// sink gives a watcher's lines to its connection.
type sink struct{ *server.Conn }

// Pending implements watch.Sink.
func (s sink) Pending() int { return s.Stats().Output }

// look locks the part of the store where the key belongs, for a client's command, and writes a line for the watchers.
func (w *worker) look(key []byte) store.Entry {
	e := w.store.Lock(key)
	if w.hub.Wants(watch.Fetchers) {
		w.logGet(key, &e)
	}
	return e
}

// logGet writes a line about what a command has found.
func (w *worker) logGet(key []byte, e *store.Entry) {
	g := watch.Get{Key: key, Status: e.Finding().String(), FD: w.descriptor()}
	if e.Found() {
		g.Size, g.Class = e.Len(), classNumber(e.Size())
	}
	w.events.Get(&g)
}

// logStore writes a line about what has become of a value of size bytes. e is the key's entry, or nil.
func (w *worker) logStore(e *store.Entry, o *order, what outcome, size int) {
	expires, takes := o.expires, itemHeader+itemCAS+len(o.key)+size
	if what == stored && e.Found() { // with append, more than was brought
		expires, size, takes = e.Meta().Expires, e.Len(), e.Size()
	}
	w.events.Store(&watch.Store{
		Key: o.key, Status: what.status(), Command: o.command(), TTL: w.ttl(expires), FD: w.descriptor(), Size: size, Class: classNumber(takes),
	})
}

// logRefused writes a line about a value that is refused before it is looked at.
func (w *worker) logRefused(op protocol.Op, key []byte, what outcome, size int) {
	if w.hub.Wants(watch.Mutations) {
		w.logStore(nil, &order{op: op, key: key}, what, size)
	}
}

// logCreated writes the lines about an item that an increment has made. As in memcached there are two: it looks once more, and adds.
func (w *worker) logCreated(e *store.Entry, key []byte, ok bool) {
	if w.hub.Wants(watch.Fetchers) {
		w.events.Get(&watch.Get{Key: key, Status: "not_found", FD: w.descriptor()})
	}
	if ok && w.hub.Wants(watch.Mutations) {
		w.logStore(e, &order{op: protocol.OpAdd, key: key}, stored, 0)
	}
}

// opOfText is what a text request to store asks for.
func opOfText(r *protocol.Request) protocol.Op {
	if r.Op == protocol.OpMetaSet {
		return opOfMode(r.Meta.Mode)
	}
	return r.Op
}

// opOfFrame is what a frame that brings a value asks for.
func opOfFrame(op protocol.Opcode) protocol.Op {
	switch op {
	case protocol.BinAdd:
		return protocol.OpAdd
	case protocol.BinReplace:
		return protocol.OpReplace
	case protocol.BinAppend:
		return protocol.OpAppend
	case protocol.BinPrepend:
		return protocol.OpPrepend
	}
	return protocol.OpSet
}

// ttl is the seconds that are left until expires. As memcached's, it is a number near 2^32 for a time that has been.
func (w *worker) ttl(expires int64) uint32 {
	now := w.clock.Unix()
	switch {
	case expires == 0:
		return 0
	case expires < 0 || expires <= now:
		return 1<<32 - 1
	}
	return uint32(expires - now)
}

// descriptor is the number of the socket that the request came from.
func (w *worker) descriptor() int {
	if w.conn != nil {
		return w.conn.FD()
	}
	return w.packetFD
}

// logEviction is the store's Evicted: it writes a line about the item. The part of the store is locked.
func (c *Cache) logEviction(e store.Evicted) {
	if !c.hub.Wants(watch.Evictions) {
		return
	}
	ttl := int64(-1)
	if e.Expires != 0 {
		ttl = e.Expires - c.clock.Unix()
	}
	c.evictions.Eviction(&watch.Eviction{
		Key: e.Key, Fetched: e.Fetched, TTL: ttl, Idle: e.Idle, Class: classNumber(e.Size), Size: e.Value,
	})
}

// opened writes a line about a connection that is open.
func (s *session) opened(c *server.Conn) {
	if s.w.hub.Wants(watch.Connections) {
		p := s.peer(c)
		s.w.events.Opened(&p)
	}
}

// closed writes a line about a connection that has ended.
func (s *session) closed(c *server.Conn, reason error) {
	if !s.w.hub.Wants(watch.Connections) {
		return
	}
	why := "error"
	switch {
	case s.watcher != nil: // memcached says so of every watcher
	case reason == nil && !s.broken, errors.Is(reason, io.EOF):
		why = "normal"
	case errors.Is(reason, server.ErrIdle):
		why = "idle_timeout"
	case errors.Is(reason, server.ErrServerClosed):
		why = "shutdown"
	}
	p := s.peer(c)
	s.w.events.Closed(&p, why)
}

// statsLog emits what has become of the lines for watchers since the last reset.
func (c *Cache) statsLog(line emit) {
	n := c.hub.Counts()
	c.mu.Lock()
	before := c.logged
	c.mu.Unlock()
	line.number("log_worker_dropped", n.Dropped-before.Dropped)
	line.number("log_worker_written", n.Written-before.Written)
	line.number("log_watcher_skipped", n.Skipped-before.Skipped)
	line.number("log_watcher_sent", n.Sent-before.Sent)
	line.number("log_watchers", uint64(c.hub.Watchers()))
}

// peer is where the connection comes from.
func (s *session) peer(c *server.Conn) watch.Connection {
	p := watch.Connection{Host: "unix", Transport: "local", FD: int(s.fd)}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		p = watch.Connection{Host: a.IP.String(), Port: a.Port, Transport: "tcp", FD: int(s.fd)}
	}
	return p
}

// command is the name of what the order does.
func (o *order) command() string {
	switch o.op {
	case protocol.OpAdd:
		return "add"
	case protocol.OpReplace:
		return "replace"
	case protocol.OpAppend:
		return "append"
	case protocol.OpPrepend:
		return "prepend"
	case protocol.OpCas:
		return "cas"
	}
	return "set"
}

// status is the outcome as watchers are told it.
func (what outcome) status() string {
	return [...]string{"stored", "not_stored", "exists", "not_found", "too_large", "no_memory"}[what]
}
