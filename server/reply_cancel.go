package server

import (
	"fmt"
	"sync"
)

// A cancelWatch is a function that Reply.OnCancel has registered.
type cancelWatch struct {
	reply *replyState
	fn    func(cause error)
	next  *cancelWatch // of the same connection
}

// cancelWatches has the functions that Reply.OnCancel has registered for the connections of a loop. They are not stored in the connections,
// because most of these never have one, and each function is removed when its reply ends.
type cancelWatches struct {
	mu    sync.Mutex // guards what follows. Locked after that of a connection
	conns map[*Conn]*cancelWatch
	most  int   // the largest length of conns since conns was made
	cause error // the server has ended the contexts of all connections; nil before
}

// keptWatches is the length of a map that is kept when it is empty.
const keptWatches = 64

// OnCancel calls fn with the cause, on a goroutine of its own, if Context ends while the reply is open. Unlike Context, which takes up memory
// until the connection ends, OnCancel takes up none when the reply has ended. stop ends the registration, and reports whether it did: false if
// fn was called or is about to be, if stop was called before, or if the reply has ended. It does not wait for fn. OnCancel panics if fn is
// nil. Errors: ErrReplyEnded; if Context has ended already, its cause. After an error fn is not called. Any goroutine.
func (w Reply) OnCancel(fn func(cause error)) (stop func() bool, err error) {
	if fn == nil {
		panic("server: OnCancel of a nil function")
	}
	if w.in == nil { // the zero Reply
		return nil, fmt.Errorf("watch the end of a request's context: %w", ErrReplyEnded)
	}
	c, r := w.c, &w.in.reply
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.number.Load() != w.number { // while this reply is open, it is changed under c.mu
		return nil, fmt.Errorf("watch the end of a request's context: %w", ErrReplyEnded)
	}
	if c.state.isDead() || c.ext.isCanceled() {
		return nil, c.ext.cancelCause()
	}
	watch := &cancelWatch{reply: r, fn: fn}
	if err := c.loop.cancels.add(c, watch); err != nil {
		return nil, err
	}
	r.isWatched = true
	return func() bool { return c.loop.cancels.remove(c, func(one *cancelWatch) bool { return one == watch }) }, nil
}

// add registers a function for c. It returns the cause if the contexts of all connections have ended. Under the mu of c.
func (ws *cancelWatches) add(c *Conn, watch *cancelWatch) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.cause != nil {
		return ws.cause
	}
	if ws.conns == nil {
		ws.conns, ws.most = map[*Conn]*cancelWatch{}, 0
	}
	watch.next = ws.conns[c]
	ws.conns[c] = watch
	ws.most = max(ws.most, len(ws.conns))
	return nil
}

// remove removes the functions of c that match, and reports whether there were any. Any goroutine.
func (ws *cancelWatches) remove(c *Conn, matches func(*cancelWatch) bool) (removed bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	first := ws.conns[c]
	for p := &first; *p != nil; {
		if matches(*p) {
			*p, removed = (*p).next, true
		} else {
			p = &(*p).next
		}
	}
	if removed {
		ws.set(c, first)
	}
	return removed
}

// set makes first the list of the functions of c; nil for none. Under mu.
func (ws *cancelWatches) set(c *Conn, first *cancelWatch) {
	if first != nil {
		ws.conns[c] = first
		return
	}
	if delete(ws.conns, c); len(ws.conns) == 0 && ws.most > keptWatches { // a map does not become smaller
		ws.conns = nil
	}
}

// end starts the functions of a connection whose context has ended, and removes them. Under the mu of c.
func (ws *cancelWatches) end(c *Conn, cause error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if first := ws.conns[c]; first != nil {
		ws.set(c, nil)
		first.startAll(cause)
	}
}

// endAll starts all functions, since the contexts of all connections have ended. add registers no more. Any goroutine.
func (ws *cancelWatches) endAll(cause error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.cause = cause
	for _, first := range ws.conns {
		first.startAll(cause)
	}
	ws.conns = nil
}

// startAll starts the functions of a connection, each on a goroutine of its own, which has none of the locks that the caller holds.
func (watch *cancelWatch) startAll(cause error) {
	for ; watch != nil; watch = watch.next {
		go watch.fn(cause)
	}
}

// endWatches removes the functions that OnCancel has registered for a reply that ends. Under c.mu.
func (r *replyState) endWatches() {
	if r.isWatched {
		r.isWatched = false
		r.c.loop.cancels.remove(r.c, func(one *cancelWatch) bool { return one.reply == r })
	}
}
