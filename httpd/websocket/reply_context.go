package websocket

import (
	"context"
	"errors"

	"github.com/evmq/evmq/server"
)

// A replyContext is the context of a Reply. It exists while Message runs, and only if Context was called.
type replyContext struct {
	context.Context
	w      server.Reply // of the Reply
	cancel context.CancelCauseFunc
	stop   func() bool // ends the watch of the connection
}

// Context returns a context that ends when Message returns, as the one of an http.Request does, and before that with the connection, and when the peer closes
// its half. Then its cause is the reason. Work that goes on when Message has returned needs Conn.Context. The first call of a message
// allocates; what it takes up is given back when Message returns. Any goroutine.
func (r Reply) Context() context.Context {
	c := r.conn("Context")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.more != nil && c.more.reply != nil && c.more.reply.w == r.w {
		return c.more.reply.Context
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop, err := r.w.OnCancel(cancel)
	switch {
	case errors.Is(err, server.ErrReplyEnded):
		cancel(context.Canceled)
	case err != nil:
		cancel(err)
	default:
		c.extra().reply = &replyContext{ctx, r.w, cancel, stop}
	}
	return ctx
}

// takeReplyContext returns the context of the Reply that ends, or nil. Under mu.
func (c *Conn) takeReplyContext() *replyContext {
	if c.more == nil {
		return nil
	}
	x := c.more.reply
	c.more.reply = nil
	c.dropMore()
	return x
}

// end ends the context. x may be nil.
func (x *replyContext) end() {
	if x != nil {
		x.stop()
		x.cancel(context.Canceled)
	}
}
