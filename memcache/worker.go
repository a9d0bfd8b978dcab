package memcache

import (
	"errors"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/server"
)

// A worker is the state that the connections of one loop share while one of them is served. It belongs to the loop.
type worker struct {
	executor
	req        protocol.Request
	bin        protocol.Frame
	out        []byte          // answers not written to the connection yet
	mark       int             // offset in out of the current request's answer
	sent       int             // bytes written to the connection during this visit
	full       bool            // the connection's output is full: the rest of out waits
	overloaded bool            // because the whole server is full
	failed     bool            // a write to the connection has failed
	paused     bool            // the connection's input is paused
	quit       bool            // close the connection when its output is flushed
	bye        bool            // because the client has sent quit
	unflushed  bool            // a command other than a get was served in this visit: watch cannot follow it
	coming     *store.Incoming // the value of the frame that is served, if it is in the store's memory
	tail       []byte          // of the large value that is sent
}

// newWorker returns a worker.
func (c *Cache) newWorker() *worker {
	x := executor{Cache: c, counts: new(counters), events: c.hub.NewBuffer()}
	return &worker{executor: x, out: make([]byte, 0, outBuffer)}
}

// worker returns the worker of a loop.
func (c *Cache) worker(loop *event.Loop) *worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.loops[loop]
	if w == nil {
		w = c.newWorker()
		c.loops[loop] = w
		if _, err := loop.OnClose(func() { c.retire(loop) }); err != nil {
			c.log.Error("memcache: the counts of a loop are lost when it ends", "err", err)
		}
	}
	return w
}

// retire adds the counts of a loop that is closed to those of the cache.
func (c *Cache) retire(loop *event.Loop) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.loops[loop]; w != nil {
		for i := range w.counts {
			c.retired.add(counter(i), w.counts[i].Load())
		}
		delete(c.loops, loop)
		c.hub.Retire(w.events)
	}
}

const (
	outBuffer = 16 << 10 // initial capacity of a worker's buffer
	maxOut    = 64 << 10 // length of the buffer at which it is flushed
)

// begin is called before a connection is served.
func (w *worker) begin(c *server.Conn) {
	w.conn, w.out, w.sent = c, w.out[:0], 0
	w.overloaded = false
	w.full, w.failed, w.paused, w.quit, w.bye, w.unflushed = false, false, false, false, false, false
}

// flush writes the answers to the connection, and sets full or failed if it cannot.
func (w *worker) flush() {
	if len(w.out) == 0 || w.conn == nil || w.full {
		return
	}
	n, err := w.conn.Write(w.out)
	if w.full = errors.Is(err, server.ErrFull); w.full {
		w.overloaded = errors.Is(err, server.ErrServerFull)
		return
	}
	w.failed = w.failed || err != nil
	w.sent += n
	w.counts.add(bytesWritten, uint64(n))
	w.out = w.out[:0]
	if cap(w.out) > 4*maxOut {
		w.out = make([]byte, 0, outBuffer)
	}
}

// done reports whether the visit is over: the connection has received enough bytes, or cannot be served further.
func (w *worker) done() bool {
	return w.sent >= maxOut || w.full || w.failed || w.paused || w.quit
}

// line appends text and an end of line to the answers.
func (w *worker) line(text string) {
	w.out = append(w.out, text...)
	w.out = append(w.out, '\r', '\n')
}

// unlessQuiet is line, unless the request has noreply.
func (w *worker) unlessQuiet(text string) {
	if !w.req.NoReply {
		w.line(text)
	}
}

// value appends the entry's value to the answers. A large value is lent instead, for large to send after the entry is unlocked.
func (w *worker) value(e *store.Entry) *store.Lease {
	if w.conn != nil {
		if l := e.Borrow(w.conn); l != nil {
			w.tail = append(w.tail[:0], e.Tail()...)
			return l
		}
	} else if len(w.out) > maxAnswer { // too long for a datagram: the answer is not sent
		return nil
	}
	w.out = e.AppendValue(w.out)
	return nil
}

// large sends a large value without a copy, except for its tail. l may be nil.
func (w *worker) large(l *store.Lease) {
	if l == nil {
		return
	}
	w.flush()
	parts := l.Parts()
	for i, p := range parts {
		var err error
		if !w.full {
			err = w.conn.WriteOwned(p, l.Returned())
		}
		if w.full || errors.Is(err, server.ErrFull) {
			w.full, w.overloaded = true, w.overloaded || errors.Is(err, server.ErrServerFull)
			for _, p := range parts[i:] {
				w.out = append(w.out, p...)
			}
		}
		if w.full || err != nil {
			w.failed = w.failed || !w.full
			l.Return(len(parts) - i)
			break
		}
		w.sent += len(p)
		w.counts.add(bytesWritten, uint64(len(p)))
	}
	w.out = append(w.out, w.tail...)
}
