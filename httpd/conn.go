package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/httpd/internal/http1"
	"github.com/evmq/evmq/server"
)

// A connHandler serves the connections of a listener: a server.Dispatcher whose messages are the heads of requests.
type connHandler struct {
	server.Dispatcher
	s       *Server
	base    context.Context // of the listener
	handler http.Handler
}

// newConnHandler returns the handler for s.
func newConnHandler(s *Server) *connHandler {
	h := &connHandler{s: s, handler: s.Handler}
	if h.handler == nil {
		h.handler = http.DefaultServeMux
	}
	return h.forListener(context.Background())
}

// forListener returns the handler for the connections of a listener with this base context.
func (h *connHandler) forListener(base context.Context) *connHandler {
	h = &connHandler{s: h.s, handler: h.handler, base: context.WithValue(base, http.ServerContextKey, h.s.netHTTPServer())}
	h.Dispatcher = server.Dispatcher{
		Framing: http1.Framing{MaxHead: h.s.maxHead()}, Serve: h.serveRequest, Placement: h.s.Placement, Route: h.route,
		Opened: h.opened, Closed: h.closed, Malformed: h.malformed, CancelOnEOF: true,
	}
	return h
}

// netHTTPServer returns the value of http.ServerContextKey, which has to be of this type. It has the fields that both servers have, and
// serves nothing.
func (s *Server) netHTTPServer() *http.Server {
	return &http.Server{
		Addr: s.Addr, Handler: s.Handler, TLSConfig: s.TLSConfig, ReadTimeout: s.ReadTimeout, ReadHeaderTimeout: s.ReadHeaderTimeout,
		WriteTimeout: s.WriteTimeout, IdleTimeout: s.IdleTimeout, MaxHeaderBytes: s.MaxHeaderBytes, ErrorLog: s.ErrorLog, Protocols: s.Protocols, HTTP2: s.HTTP2,
	}
}

// A conn is a connection, as a request or a callback sees it. It is made for each of them, so that HTTP takes no memory of its own for an
// idle connection.
type conn struct {
	h    *connHandler
	sc   *server.Conn
	more *connMore // the state that few connections need, stored as the Value of sc; nil for most
}

// connMore is the part of the state of a connection that few connections need.
type connMore struct {
	ctx        context.Context // what ConnContext has returned; nil without it, and before the first request
	timer      *writeTimer     // nil before the first write deadline
	isHijacked atomic.Bool
}

// connOf returns the conn for sc.
func (h *connHandler) connOf(sc *server.Conn) conn {
	more, _ := sc.Value().(*connMore)
	return conn{h, sc, more}
}

// extra returns more, and makes it if there is none. Only the request in progress calls it.
func (c *conn) extra() *connMore {
	if c.more == nil {
		c.more = new(connMore)
		c.sc.SetValue(c.more)
	}
	return c.more
}

// tlsState returns the value of Request.TLS. It is made for each request, so that an idle connection does not keep it.
func (c *conn) tlsState() *tls.ConnectionState {
	if !c.h.s.hasTLS.Load() {
		return nil
	}
	state, ok := c.sc.TLS()
	if !ok {
		return nil
	}
	return &state
}

// opened is called when a connection is established, on its loop.
func (h *connHandler) opened(sc *server.Conn) {
	c := conn{h: h, sc: sc}
	if state, ok := sc.TLS(); ok && state.NegotiatedProtocol == "h2" {
		h.s.http2.take(sc)
		return
	}
	c.notify(http.StateNew)
}

// closed is called when a connection has ended, on its loop.
func (h *connHandler) closed(sc *server.Conn, reason error) {
	c := h.connOf(sc)
	isHijacked := c.more != nil && c.more.isHijacked.Load()
	if !isHijacked && !errors.Is(reason, server.ErrDetached) {
		c.notify(http.StateClosed)
	}
}

// notify calls ConnState.
func (c *conn) notify(state http.ConnState) {
	if fn := c.h.s.ConnState; fn != nil {
		fn(connInfo{*c}, state)
	}
}

// localAddr returns the local address, nil if the connection has ended.
func (c *conn) localAddr() net.Addr { return c.sc.LocalAddr() }

// remoteAddr returns the value of Request.RemoteAddr.
func (c *conn) remoteAddr() string {
	var text [64]byte
	return string(c.sc.AppendRemoteAddr(text[:0]))
}

// context returns the context of the connection.
func (c *conn) context() context.Context {
	fn := c.h.s.ConnContext
	if fn == nil {
		return c.h.base
	}
	x := c.extra()
	if x.ctx == nil {
		if x.ctx = fn(c.h.base, connInfo{*c}); x.ctx == nil {
			panic("httpd: ConnContext has returned a nil context")
		}
	}
	return x.ctx
}

// route returns the key of a request's route: the method and the first two segments of its path, which the head begins with.
func (h *connHandler) route(head []byte) []byte {
	if len(head) > 1 && head[0] == '\r' {
		head = head[2:]
	}
	sp, slashes := -1, 0
	for i, b := range head {
		switch {
		case sp < 0:
			if b == ' ' {
				sp = i
			}
		case b == ' ' || b == '?' || b == '\r':
			return h.routeKey(head, sp, i)
		case b == '/':
			if slashes++; slashes == 3 && h.s.Route == nil {
				return head[:i]
			}
		}
	}
	return nil
}

// routeKey returns the key of a request with the method head[:sp] and the path head[sp+1:end].
func (h *connHandler) routeKey(head []byte, sp, end int) []byte {
	if h.s.Route == nil {
		return head[:end]
	}
	return h.s.Route(nil, head[:sp], head[sp+1:end])
}

// malformed responds to a request whose head is not valid, on the loop. The Dispatcher then closes the connection.
func (h *connHandler) malformed(sc *server.Conn, err error) {
	var refused *http1.StatusError
	if !errors.As(err, &refused) {
		refused = &http1.StatusError{Status: http.StatusRequestHeaderFieldsTooLarge}
		if !errors.Is(err, server.ErrTooLong) {
			refused.Status = http.StatusBadRequest
		}
	}
	_ = sc.WriteNotify(refusal(refused), func(error) { linger(sc) }) // fails if the connection is closed
}

// close closes the connection when the reply and all output before it are sent. While output waits, the connection ends if the client takes
// none of it for IdleTimeout: a client that pauses for a short time must not lose its response. After the output, the client has a short time
// to close its half. notify is Notify of the reply.
func (c *conn) close(notify func(done func(error)) error) {
	sc := c.sc
	_ = notify(func(error) { linger(sc) }) // fails if the connection is closed
	_ = sc.Close()                         // as above
}

// linger sets the time for which a close waits for the client, when all output was sent.
func linger(sc *server.Conn) { sc.SetTimeouts(server.Timeouts{Close: server.DefaultCloseTimeout}) }

// refusal returns the response to a request that is refused, in the form that package net/http gives it.
func refusal(e *http1.StatusError) []byte {
	text := strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	b := []byte("HTTP/1.1 " + text + "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + text)
	if e.Text != "" {
		b = append(b, ": "+e.Text...)
	}
	return b
}

// plainResponse returns the response to a client that sends an HTTP request without TLS to a listener with TLS. It is that of package net/http.
// first has the first bytes that the client has sent. The result is nil if they do not begin a request.
func plainResponse(first []byte) []byte {
	switch string(first) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return []byte("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
	return nil
}

// connInfo is a net.Conn that describes a connection to ConnContext and ConnState.
type connInfo struct{ c conn }

var errNotConn = errors.New("httpd: the connection is read and written by the server")

func (i connInfo) Read([]byte) (int, error)         { return 0, errNotConn }
func (i connInfo) Write([]byte) (int, error)        { return 0, errNotConn }
func (i connInfo) Close() error                     { i.c.sc.Abort(); return nil }
func (i connInfo) LocalAddr() net.Addr              { return i.c.localAddr() }
func (i connInfo) RemoteAddr() net.Addr             { return i.c.sc.RemoteAddr() }
func (i connInfo) SetDeadline(time.Time) error      { return errNotConn }
func (i connInfo) SetReadDeadline(time.Time) error  { return errNotConn }
func (i connInfo) SetWriteDeadline(time.Time) error { return errNotConn }

// ConnectionState returns the state of TLS; the zero value without TLS.
func (i connInfo) ConnectionState() tls.ConnectionState {
	state, _ := i.c.sc.TLS()
	return state
}
