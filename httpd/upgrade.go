package httpd

import (
	"fmt"
	"maps"
	"net/http"

	"github.com/evmq/evmq/server"
)

// An Upgrader is an http.ResponseWriter that can pass its connection to a handler of another protocol. A Server gives one to the handler of
// each HTTP/1.1 request. Upgrade finds it behind the wrappers of middleware.
type Upgrader interface {
	// UpgradeTo is Upgrade for this ResponseWriter. May block; not in a callback.
	UpgradeTo(header http.Header, next func(c *server.Conn) (server.Handler, error)) error
}

// Upgrade responds to a request with 101 Switching Protocols and the fields of header, such as Connection and Upgrade, and makes the Handler
// that next returns the handler of the connection. The bytes that the client has sent after the request are given to that Handler when the
// handler of the request has returned; then the connection holds no goroutine. Its Open is not called. The deadlines of the connection are
// still those of the Server, unless next changes them by SetTimeouts.
//
// next is called on the goroutine of Upgrade, before anything is sent. If it returns an error, Upgrade returns that, and the handler of the
// request has to respond by w. Output that another goroutine writes to the connection before Upgrade has returned may precede the response.
// After Upgrade, the methods of w fail as after Hijack. If the handler of the request then panics, the connection ends.
//
// w may be wrapped by middleware that has a method Unwrap, as for http.ResponseController. Errors: http.ErrNotSupported if there is no Upgrader
// behind w, as with HTTP/2 and other servers, if the request is of HTTP/1.0, if the response has begun, or if the request has a body that was not
// read; http.ErrHijacked after Hijack or Upgrade; ErrParked after Park; http.ErrServerClosed during Shutdown; server.ErrInvalid if the
// Handler is invalid; an error that matches net.ErrClosed if the connection has ended. May block; not in a callback.
func Upgrade(w http.ResponseWriter, header http.Header, next func(c *server.Conn) (server.Handler, error)) error {
	for {
		switch x := w.(type) {
		case Upgrader:
			return x.UpgradeTo(header, next)
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default:
			return fmt.Errorf("httpd: upgrade: %w: the ResponseWriter is %T", http.ErrNotSupported, w)
		}
	}
}

// UpgradeTo implements Upgrader.
func (r *response) UpgradeTo(header http.Header, next func(c *server.Conn) (server.Handler, error)) error {
	if err := r.mayUpgrade(); err != nil {
		return fmt.Errorf("httpd: upgrade: %w", err)
	}
	h, err := next(r.c.sc)
	if err != nil {
		return err
	}
	if err := r.c.sc.SetHandler(h); err != nil { // before the response, since it may fail
		return fmt.Errorf("httpd: upgrade: %w", err)
	}
	if r.c.h.s.isClosed() { // otherwise the shutdown finds the new handler
		r.closes = true
		return http.ErrServerClosed
	}
	maps.Copy(r.Header(), header)
	r.reqBody.stopContinue()
	r.setStatus(http.StatusSwitchingProtocols)
	r.snapshot = r.header // it is sent before anything can change it
	r.setLength()
	r.sendHead(nil)
	r.phase = phaseUpgraded
	r.c.stopTimers()
	r.c.notify(http.StateHijacked)
	if r.err == nil {
		r.err = r.w.Flush() // later writes of other goroutines follow the response
	}
	if r.err != nil {
		return fmt.Errorf("httpd: upgrade: %w", r.err)
	}
	return nil
}

// mayUpgrade returns an error if the connection cannot be passed on.
func (r *response) mayUpgrade() error {
	switch {
	case r.isHijacked():
		return http.ErrHijacked
	case r.phase == phaseParked:
		return ErrParked
	case r.phase == phaseEnded:
		return server.ErrReplyEnded
	case r.phase != phaseBegun:
		return fmt.Errorf("%w: the response has begun", http.ErrNotSupported)
	case !r.is11:
		return fmt.Errorf("%w: the request is of HTTP/1.0", http.ErrNotSupported)
	case r.reqBody != nil && !r.reqBody.complete.Load():
		return fmt.Errorf("%w: the body of the request was not read", http.ErrNotSupported)
	}
	return nil
}

var _ Upgrader = (*response)(nil)
