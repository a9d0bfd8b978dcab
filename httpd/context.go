package httpd

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/evmq/evmq/server"
)

// A requestContext is the context of a request. It ends when the handler has returned, or when the client goes away before. Most handlers
// never wait for it, so the part that can be waited for is made when it is needed.
type requestContext struct {
	base  context.Context // of the connection: values, and an end that the program requests
	reply server.Reply

	mu     sync.Mutex // guards what follows
	inner  context.Context
	cancel context.CancelCauseFunc
	stop   func() bool // ends the watch of the connection
	cause  error       // if the request has ended; nil before
}

// materialize returns the context that can be waited for. Under mu.
func (x *requestContext) materialize() context.Context {
	if x.inner != nil {
		return x.inner
	}
	x.inner, x.cancel = context.WithCancelCause(x.base)
	if x.cause != nil {
		x.cancel(x.cause)
		return x.inner
	}
	conn := x.reply.Context()
	cancel := x.cancel
	x.stop = context.AfterFunc(conn, func() { cancel(context.Cause(conn)) })
	if conn.Err() != nil { // AfterFunc calls its function on another goroutine
		cancel(context.Cause(conn))
	}
	return x.inner
}

// end ends the context, since the handler has returned.
func (x *requestContext) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cause = context.Canceled
	if x.inner != nil {
		x.stop()
		x.cancel(x.cause)
	}
}

// Deadline implements context.Context.
func (x *requestContext) Deadline() (time.Time, bool) { return x.base.Deadline() }

// Done implements context.Context.
func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.materialize().Done()
}

// Err implements context.Context.
func (x *requestContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.inner == nil && x.cause != nil {
		return context.Canceled
	}
	return x.materialize().Err()
}

// Value implements context.Context.
func (x *requestContext) Value(key any) any {
	if key == http.LocalAddrContextKey {
		if a := x.reply.Conn().LocalAddr(); a != nil {
			return a
		}
		return nil // and not a nil net.Addr
	}
	x.mu.Lock()
	inner := x.inner
	x.mu.Unlock()
	if inner != nil {
		return inner.Value(key) // which knows the key by which package context finds that contexts can be cancelled together
	}
	return x.base.Value(key)
}
