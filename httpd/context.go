package httpd

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/evmq/evmq/server"
)

// A requestContext is the context of a request. It ends when the handler has returned, or after Park when the Parked has ended, and before
// that if the client goes away. Most handlers never wait for it, so the part that can be waited for is made when it is needed.
type requestContext struct {
	base  context.Context // of the connection: values, and an end that the program requests
	reply server.Reply

	mu     sync.Mutex // guards what follows
	inner  context.Context
	cancel context.CancelCauseFunc
	stop   func() bool // ends the call of cancel at the end of the connection; nil if there is none
	cause  error       // if the request has ended; nil before
	parked *Parked     // has the request's response, and ends the context; nil without Park
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
	stop, err := x.reply.OnCancel(x.cancel)
	if err == nil {
		x.stop = stop
	} else if !errors.Is(err, server.ErrReplyEnded) { // the reply has ended only if the response is parked, and then the Parked ends the context
		x.cancel(err)
	}
	if x.parked != nil {
		if cause := x.parked.keepContext(x); cause != nil {
			x.endLocked(cause)
		}
	}
	return x.inner
}

// end ends the context with the cause: context.Canceled when the handler has returned. Later calls do nothing.
func (x *requestContext) end(cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.endLocked(cause)
}

// endLocked is end under mu.
func (x *requestContext) endLocked(cause error) {
	if x.cause != nil {
		return
	}
	x.cause = cause
	if x.stop != nil {
		x.stop()
	}
	if x.inner != nil {
		x.cancel(x.cause)
	}
}

// park makes the end of p, and not the return of the handler, end the context. p keeps only a context that is waited for.
func (x *requestContext) park(p *Parked) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.parked = p; x.inner != nil {
		_ = p.keepContext(x) // p is new
	}
}

// parkedAs returns the Parked whose end ends the context, or nil.
func (x *requestContext) parkedAs() *Parked {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.parked
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
		return context.Canceled // that of each context that was cancelled
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
		return inner.Value(key) // so that package context finds inner by a key of its own, and needs no goroutine to cancel its children
	}
	return x.base.Value(key)
}
