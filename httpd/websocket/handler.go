package websocket

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/server"
)

// A Handler is an http.Handler that responds to the opening handshakes of WebSockets, and serves them with its Config. The requests have to be
// those of a server of package httpd. A Handler may be used for many paths and servers: Stats and MaxFragments then count all of their
// WebSockets, and the server measures the time of Message for all of them together.
type Handler struct {
	cfg      *Config
	requests *requests
	timeouts server.Timeouts // of the connections

	refused   atomic.Uint64 // handshakes
	fragments atomic.Int64  // bytes of messages in several frames, as MaxFragments counts them
	inflated  atomic.Int64  // bytes of decompressed messages, likewise

	mu     sync.Mutex // guards what follows
	wheels map[*event.Loop]*wheel
	gone   counts // of wheels that are gone
}

// NewHandler makes a Handler. cfg is copied and not written to. Errors: ErrInvalid. Any goroutine.
func NewHandler(cfg *Config) (*Handler, error) {
	c, err := resolve(cfg)
	if err != nil {
		return nil, err
	}
	h := &Handler{cfg: c, wheels: map[*event.Loop]*wheel{}}
	h.requests = &requests{h}
	h.timeouts = server.Timeouts{Idle: server.Unlimited, Read: c.ReadTimeout, FirstRequest: server.Unlimited, Write: c.WriteTimeout, Close: c.CloseTimeout}
	return h, nil
}

// ServeHTTP calls Upgrade. It drops the error, since Upgrade has sent a response, but panics if it matches ErrInvalid. May block; not in a
// callback.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := h.Upgrade(w, r); errors.Is(err, ErrInvalid) {
		panic(err)
	}
}

// checkArguments returns an error if Upgrade has invalid arguments.
func (h *Handler) checkArguments(w http.ResponseWriter, r *http.Request) error {
	switch {
	case h.cfg == nil:
		return fmt.Errorf("websocket: upgrade: %w: NewHandler has not made the Handler", ErrInvalid)
	case w == nil:
		return fmt.Errorf("websocket: upgrade: %w: the ResponseWriter is nil", ErrInvalid)
	case r == nil:
		return fmt.Errorf("websocket: upgrade: %w: the Request is nil", ErrInvalid)
	}
	return nil
}

// Upgrade responds to an opening handshake and makes the connection a WebSocket. It also responds to requests that it refuses: with 403 because of their
// origin, with 405 if the method is not GET, with 426 if they ask for no upgrade or for another version, with 501 if the server does not
// support it, with 503 during Shutdown, and otherwise with 400. Fields that are set in w.Header are sent with the response.
//
// Messages are handled when the handler of the request has returned, also those that the client has sent together with the request. The Conn may
// be used before that. The Conn keeps no reference to the request.
//
// Errors: a *HandshakeError, which matches ErrHandshake; those of httpd.Upgrade, such as http.ErrNotSupported for a request of
// HTTP/2, for one that package httpd does not serve, and for a ResponseWriter that a type without a method Unwrap wraps; ErrClosed if the
// connection has ended; ErrInvalid if w or r is nil or NewHandler has not made h. May block; not in a callback.
func (h *Handler) Upgrade(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	if err := h.checkArguments(w, r); err != nil {
		return nil, err
	}
	if no := h.checkRequest(r); no != nil && r.ProtoMajor == 1 {
		for key, values := range no.header {
			w.Header()[key] = values
		}
		h.refused.Add(1)
		http.Error(w, no.text, no.status)
		return nil, &HandshakeError{Status: no.status, Text: no.text}
	}
	accepted := []string{"websocket", "Upgrade", accept(r.Header.Get("Sec-WebSocket-Key"))}
	header := http.Header{"Upgrade": accepted[:1:1], "Connection": accepted[1:2:2], "Sec-WebSocket-Accept": accepted[2:]}
	c := &Conn{h: h, subprotocol: h.subprotocol(r)}
	if name := c.Subprotocol(); name != "" {
		header["Sec-WebSocket-Protocol"] = []string{name}
	}
	c.acceptDeflate(r, header)
	for key := range header { // those that the program has set are spelled otherwise, and would be sent, too
		w.Header().Del(key)
	}
	if !c.deflates {
		w.Header().Del("Sec-WebSocket-Extensions")
	}
	err := httpd.Upgrade(w, header, func(sc *server.Conn) (server.Handler, error) {
		c.sc = sc
		sc.SetTimeouts(h.timeouts)
		return (*connHandler)(c), nil
	})
	if err == nil {
		err = c.open()
	} else {
		h.refused.Add(1)
		respondFailure(w, err)
	}
	if err != nil {
		return nil, fmt.Errorf("websocket: upgrade: %w", err)
	}
	if h.cfg.Opened != nil {
		h.cfg.Opened(c, r)
	}
	return c, nil
}

// respondFailure responds to a request for which httpd.Upgrade has failed. After other errors the connection has ended.
func respondFailure(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, http.ErrServerClosed):
		http.Error(w, "the server shuts down", http.StatusServiceUnavailable)
	case errors.Is(err, http.ErrNotSupported):
		http.Error(w, "WebSocket is not supported here", http.StatusNotImplemented)
	}
}
