package memcache

import (
	"errors"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/memcache/internal/watch"
	"github.com/evmq/evmq/memcache/protocol"
	"github.com/evmq/evmq/memcache/store"
	"github.com/evmq/evmq/server"
)

// A worker is what the connections of one loop share while one of them is served. It belongs to the loop.
type worker struct {
	*Cache
	counts    counters
	req       protocol.Request
	bin       protocol.Frame
	conn      *server.Conn    // who is served; nil for a datagram
	out       []byte          // answers that are not handed over yet
	mark      int             // where in out the request's answer begins
	sent      int             // bytes handed over during this visit
	full      bool            // the connection holds what it may: the rest of out waits
	failed    bool            // the connection takes no more
	paused    bool            // is not to be read from: a goroutine writes to it
	quit      bool            // is to be closed when all is flushed
	bye       bool            // since the client has said so
	unflushed bool            // a command other than a get was served in this visit: watch cannot follow it
	events    *watch.Buffer   // lines for clients that watch
	packetFD  int             // the socket that the datagram has come from
	coming    *store.Incoming // the value of the frame that is carried out, if it has come in the store's memory
	tail      []byte          // of the large value that is sent
	parts     [][]byte        // for values that are joined
	padded    []byte          // a number, and the spaces that keep a value's length
}

// worker returns the loop's.
func (c *Cache) worker(loop *event.Loop) *worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.loops[loop]
	if w == nil {
		w = &worker{Cache: c, out: make([]byte, 0, outBuffer), events: c.hub.NewBuffer()}
		c.loops[loop] = w
		if _, err := loop.OnClose(func() { c.retire(loop) }); err != nil {
			c.log.Error("memcache: the counts of a loop are lost when it ends", "err", err)
		}
	}
	return w
}

// retire keeps the counts of a loop that is gone.
func (c *Cache) retire(loop *event.Loop) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.loops[loop]; w != nil {
		for i := range w.counts {
			c.retired[i].Add(w.counts[i].Load())
		}
		delete(c.loops, loop)
		c.hub.Retire(w.events)
	}
}

const (
	outBuffer = 16 << 10 // what a worker's buffer has at first,
	maxOut    = 64 << 10 // and when it is handed over
)

// begin is called before a connection is served.
func (w *worker) begin(c *server.Conn) {
	w.conn, w.out, w.sent = c, w.out[:0], 0
	w.full, w.failed, w.paused, w.quit, w.bye, w.unflushed = false, false, false, false, false, false
}

// flush hands the answers over. A connection that takes nothing any more is not served any further; one that is full, not now.
func (w *worker) flush() {
	if len(w.out) == 0 || w.conn == nil || w.full {
		return
	}
	n, err := w.conn.Write(w.out)
	if w.full = errors.Is(err, server.ErrFull); w.full {
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

// done reports whether the connection has had its share of this visit, or takes no more.
func (w *worker) done() bool {
	return w.sent >= maxOut || w.full || w.failed || w.paused || w.quit
}

// line answers with text and an end of line.
func (w *worker) line(text string) {
	w.out = append(w.out, text...)
	w.out = append(w.out, '\r', '\n')
}

// unlessQuiet is line, if the client wants to know.
func (w *worker) unlessQuiet(text string) {
	if !w.req.NoReply {
		w.line(text)
	}
}

// value appends the entry's value, unless it is large: then it is lent, for large to send when the entry is unlocked.
func (w *worker) value(e *store.Entry) *store.Lease {
	if w.conn != nil {
		if l := e.Borrow(w.conn); l != nil {
			w.tail = append(w.tail[:0], e.Tail()...)
			return l
		}
	} else if len(w.out) > maxAnswer { // of a datagram: it is not going to be sent
		return nil
	}
	w.out = e.AppendValue(w.out)
	return nil
}

// large sends a large value, without a copy but for its tail. nil is none.
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
			w.full = true
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
