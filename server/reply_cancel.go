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

// cancelWatches has the functions of OnCancel for the connections of a loop. They are not kept in the connections, because most of these
// never have one, and no function outlives its request.
type cancelWatches struct {
	mu    sync.Mutex // guards what follows. Locked after that of a connection
	conns map[*Conn]*cancelWatch
	most  int   // the largest length of conns since it was made
	cause error // the server has ended the contexts of all connections; nil before
}

// keptWatches is the length of a map that is kept when it is empty.
const keptWatches = 64

// OnCancel makes fn be called once, on a goroutine of its own, if Context ends while the reply is open, with the cause. Unlike Context, which
// exists from its first call until the connection ends, it takes up no memory when the reply has ended. stop ends the registration, and
// reports whether it did: false if fn was called or is about to be, if stop was called before, or if the reply has ended. It does not wait
// for fn. Errors, after which fn is not called: the cause if Context would have ended; ErrReplyEnded. It panics if fn is nil. Any goroutine.
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

// add registers the function. It returns the cause if the contexts of all connections have ended.
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

// remove removes the functions of a connection for which is returns true, and reports whether there were any.
func (ws *cancelWatches) remove(c *Conn, is func(*cancelWatch) bool) (removed bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	first := ws.conns[c]
	for p := &first; *p != nil; {
		if is(*p) {
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

// set stores the first function of a connection, or none. Under mu.
func (ws *cancelWatches) set(c *Conn, first *cancelWatch) {
	if first != nil {
		ws.conns[c] = first
		return
	}
	if delete(ws.conns, c); len(ws.conns) == 0 && ws.most > keptWatches { // a map does not become smaller
		ws.conns = nil
	}
}

// end calls the functions of a connection whose context has ended.
func (ws *cancelWatches) end(c *Conn, cause error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if first := ws.conns[c]; first != nil {
		ws.set(c, nil)
		first.callAll(cause)
	}
}

// endAll calls all functions, since the contexts of all connections have ended.
func (ws *cancelWatches) endAll(cause error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.cause = cause
	for _, first := range ws.conns {
		first.callAll(cause)
	}
	ws.conns = nil
}

// callAll calls the functions of a connection, without any lock.
func (watch *cancelWatch) callAll(cause error) {
	for ; watch != nil; watch = watch.next {
		go watch.fn(cause)
	}
}

// endWatch ends the registrations of a reply that ends. Under c.mu.
func (r *replyState) endWatch() {
	if r.isWatched {
		r.isWatched = false
		r.c.loop.cancels.remove(r.c, func(one *cancelWatch) bool { return one.reply == r })
	}
}
