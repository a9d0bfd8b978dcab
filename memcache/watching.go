package memcache

import (
	"errors"
	"io"
	"net"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/memcache/internal/watch"
	"github.com/evmq/evmq/server"
)

// leastLog is the minimum size in bytes of a buffer for lines of the watch command. It holds several lines.
const leastLog = 4 << 10

// textWatch serves watch. From then on the connection receives lines about events of the cache, and its input is discarded.
func (w *worker) textWatch() {
	words := w.req.Args[1:]
	events, known := watch.Parse(words)
	switch {
	case len(words) > 0 && string(words[len(words)-1]) == "noreply": // an unknown event, whose error is suppressed
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

// watch turns the connection into a watcher. The answer is written before the watcher is added, so it precedes all lines.
func (w *worker) watch(events watch.Events) {
	const failed = "WATCHER_FAILED failed to add log watcher"
	s, ok := w.conn.Value().(*session)
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
	if err != nil { // a client of another loop was added first
		w.line(tooManyWatchers)
		w.quit = true
		return
	}
	s.watcher = watcher
	s.state.Store(uint32(stateWatch))
	w.conn.SetTimeouts(server.Timeouts{Idle: -1, Read: -1, FirstRequest: -1}) // a watcher sends nothing
}

const tooManyWatchers = "WATCHER_TOO_MANY log watcher limit reached"

// sink writes a watcher's lines to its connection.
type sink struct{ *server.Conn }

// Pending implements watch.Sink.
func (s sink) Pending() int { return s.Stats().BufferedBytes }

// look locks a key for a command, and writes a line about the look-up for watchers.
func (x *executor) look(key []byte) store.Entry {
	e := x.store.Lock(key)
	if x.hub.Wants(watch.Fetchers) {
		x.logGet(key, &e)
	}
	return e
}

// logGet writes a line about a look-up.
func (x *executor) logGet(key []byte, e *store.Entry) {
	g := watch.Get{Key: key, Status: e.Finding().String(), FD: x.descriptor()}
	if e.Found() {
		g.Size, g.Class = e.Len(), classNumber(e.Size())
	}
	x.events.Get(&g)
}

// logStore writes a line about the outcome of a request to store a value of size bytes. e is the key's entry, or nil.
func (x *executor) logStore(e *store.Entry, o *order, what outcome, size int) {
	expires, takes := o.expires, itemHeader+itemCAS+len(o.key)+size
	if what == stored && e.Found() { // after an append the item is larger than the value of the request
		expires, size, takes = e.Meta().Expires, e.Len(), e.Size()
	}
	x.events.Store(&watch.Store{
		Key: o.key, Status: what.status(), Command: o.command(), TTL: x.ttl(expires), FD: x.descriptor(), Size: size, Class: classNumber(takes),
	})
}

// logRefused writes a line about a value that is refused before its key is looked up.
func (x *executor) logRefused(op protocol.Op, key []byte, what outcome, size int) {
	if x.hub.Wants(watch.Mutations) {
		x.logStore(nil, &order{op: op, key: key}, what, size)
	}
}

// logCreated writes the lines about an item that an increment has created: as in memcached, a second look-up and an add.
func (x *executor) logCreated(e *store.Entry, key []byte, ok bool) {
	if x.hub.Wants(watch.Fetchers) {
		x.events.Get(&watch.Get{Key: key, Status: "not_found", FD: x.descriptor()})
	}
	if ok && x.hub.Wants(watch.Mutations) {
		x.logStore(e, &order{op: protocol.OpAdd, key: key}, stored, 0)
	}
}

// opOfText returns the operation of a text request to store.
func opOfText(r *protocol.Request) protocol.Op {
	if r.Op == protocol.OpMetaSet {
		return opOfMode(r.Meta.Mode)
	}
	return r.Op
}

// opOfFrame returns the operation of a frame with a value.
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

// ttl returns the seconds until expires, 0 for never. For a time that has passed it is 2^32-1, as in memcached.
func (x *executor) ttl(expires int64) uint32 {
	now := x.clock.Unix()
	switch {
	case expires == 0:
		return 0
	case expires < 0 || expires <= now:
		return 1<<32 - 1
	}
	return uint32(expires - now)
}

// descriptor returns the descriptor of the socket that the request came from, noSocket for a call of the program.
func (x *executor) descriptor() int {
	if x.conn != nil {
		return x.conn.FD()
	}
	return x.socket
}

// logEviction is the store's Evicted function: it writes a line about the item. It is called with a shard locked.
func (c *Cache) logEviction(e store.Evicted) {
	if !c.hub.Wants(watch.Evictions) {
		return
	}
	ttl := int64(-1)
	if e.Expires != 0 {
		ttl = e.Expires - c.clock.Unix()
	}
	c.events.Eviction(&watch.Eviction{
		Key: e.Key, Fetched: e.Fetched, TTL: ttl, Idle: e.Idle, Class: classNumber(e.Size), Size: e.Value,
	})
}

// logOpened writes a line for watchers about a new connection.
func (s *session) logOpened(c *server.Conn) {
	if s.w.hub.Wants(watch.Connections) {
		p := s.peer(c)
		s.w.events.Opened(&p)
	}
}

// logClosedToWatchers writes a line for watchers about a connection that has ended.
func (s *session) logClosedToWatchers(c *server.Conn, reason error) {
	if !s.w.hub.Wants(watch.Connections) {
		return
	}
	why := "error"
	switch {
	case s.watcher != nil: // memcached reports every watcher as an error
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

// statsLog emits the counts of lines for watchers since the last reset.
func (c *Cache) statsLog(line emit) {
	n := c.hub.Counts()
	c.mu.Lock()
	before := c.watchCounts
	c.mu.Unlock()
	line.number("log_worker_dropped", n.Dropped-before.Dropped)
	line.number("log_worker_written", n.Written-before.Written)
	line.number("log_watcher_skipped", n.Skipped-before.Skipped)
	line.number("log_watcher_sent", n.Sent-before.Sent)
	line.number("log_watchers", uint64(c.hub.Watchers()))
}

// peer describes the client's end of the connection.
func (s *session) peer(c *server.Conn) watch.Connection {
	p := watch.Connection{Host: "unix", Transport: "local", FD: int(s.fd)}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		p = watch.Connection{Host: a.IP.String(), Port: a.Port, Transport: "tcp", FD: int(s.fd)}
	}
	return p
}

// command returns memcached's name of the order's command.
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

// status returns the word for the outcome in lines for watchers.
func (what outcome) status() string {
	return [...]string{"stored", "not_stored", "exists", "not_found", "too_large", "no_memory"}[what]
}
