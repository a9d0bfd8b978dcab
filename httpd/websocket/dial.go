package websocket

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/evmq/evmq/server"
)

// A DialConfig says how Dial connects. Server and Handler are required.
type DialConfig struct {
	// Server has the loops that serve the WebSocket, and the workers for Config.Message. It must have been started.
	Server *server.Server
	// Handler serves the WebSocket. Dial offers its Subprotocols, and permessage-deflate if Deflate is set.
	Handler *Handler
	// Header has further fields of the request, such as Origin or Authorization. The fields of the handshake itself are not permitted.
	Header http.Header
	// TLS is the configuration for wss. If ServerName is empty, it is the host of the URL. Nil means the zero tls.Config.
	TLS *tls.Config
	// Timeout limits the lookup of the name, connecting, the TLS handshake and the opening handshake together. 0 means
	// server.DefaultDialTimeout; a negative value means no limit.
	Timeout time.Duration
	// Near, if not nil, is a connection of the Server. The new one is put on its loop.
	Near *server.Conn
}

// Dial connects to the WebSocket server at a URL with the scheme ws or wss. It returns when the handshake is complete; from then on ctx has
// no effect. Config.Opened is called on the loop before Dial returns, and messages may be handled before that, too. If Dial is called in a
// handler of a request or in Config.Message, which may run on a loop, it gives the loop up first.
//
// Errors: ErrInvalid; a *HandshakeError, which matches ErrHandshake, if the server refuses; those of server.DialContext; the cause of ctx.
// May block; not in a callback.
func Dial(ctx context.Context, rawURL string, cfg *DialConfig) (*Conn, error) {
	if ctx == nil {
		return nil, fmt.Errorf("websocket: dial %s: %w: the context is nil", rawURL, ErrInvalid)
	}
	d, err := newDialer(rawURL, cfg)
	if err != nil {
		return nil, fmt.Errorf("websocket: dial %s: %w", rawURL, err)
	}
	if timeout := cfg.Timeout; timeout >= 0 {
		if timeout == 0 {
			timeout = server.DefaultDialTimeout
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, server.ErrDialTimeout)
		defer cancel()
	}
	if err := d.dial(ctx, cfg); err != nil {
		return nil, fmt.Errorf("websocket: dial %s: %w", rawURL, err)
	}
	return d.c, nil
}

// A dialer makes the opening handshake. It is the handler of the connection until the handshake has ended.
type dialer struct {
	c       *Conn
	address string
	tls     *tls.Config
	key     string
	request []byte
	done    chan error // receives the outcome
	ended   bool       // the outcome is known. Loop only
}

// newDialer checks the arguments of Dial.
func newDialer(rawURL string, cfg *DialConfig) (*dialer, error) {
	switch {
	case cfg == nil:
		return nil, fmt.Errorf("%w: DialConfig is nil", ErrInvalid)
	case cfg.Server == nil:
		return nil, fmt.Errorf("%w: DialConfig.Server is nil", ErrInvalid)
	case cfg.Handler == nil:
		return nil, fmt.Errorf("%w: DialConfig.Handler is nil", ErrInvalid)
	case cfg.Handler.cfg == nil:
		return nil, fmt.Errorf("%w: NewHandler has not made DialConfig.Handler", ErrInvalid)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	port := map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	if port == "" || u.Hostname() == "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: no URL of a WebSocket", ErrInvalid)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	d := &dialer{c: &Conn{h: cfg.Handler, isClient: true}, address: net.JoinHostPort(u.Hostname(), port), done: make(chan error, 1)}
	if u.Scheme == "wss" {
		if d.tls = cfg.TLS.Clone(); d.tls == nil {
			d.tls = new(tls.Config)
		}
		if len(d.tls.NextProtos) == 0 {
			d.tls.NextProtos = []string{"http/1.1"}
		}
	}
	return d, d.makeRequest(u, cfg.Header)
}

// handshakeFields are the fields of the request that Dial sets.
var handshakeFields = []string{
	"Host", "Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Content-Length",
	"Transfer-Encoding",
}

// makeRequest makes the text of the request.
func (d *dialer) makeRequest(u *url.URL, header http.Header) error {
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	for _, name := range handshakeFields {
		if _, ok := header[name]; ok {
			return fmt.Errorf("%w: DialConfig.Header has %s", ErrInvalid, name)
		}
	}
	if password, ok := u.User.Password(); u.User != nil && (ok || u.User.Username() != "") && header["Authorization"] == nil {
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it does not fail
	d.key = base64.StdEncoding.EncodeToString(nonce[:])
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %s\r\n",
		u.RequestURI(), u.Host, d.key, version)
	cfg := d.c.h.cfg
	if len(cfg.Subprotocols) > 0 {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", strings.Join(cfg.Subprotocols, ", "))
	}
	if cfg.Deflate {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", extension(noTakeover))
	}
	if err := header.Write(&b); err != nil {
		return err
	}
	b.WriteString("\r\n")
	d.request = []byte(b.String())
	return nil
}

// dial connects, and waits for the outcome of the handshake.
func (d *dialer) dial(ctx context.Context, cfg *DialConfig) error {
	sc, err := cfg.Server.DialContext(ctx, "tcp", d.address, &server.DialConfig{Handler: d, Timeout: server.Unlimited, TLS: d.tls, Near: cfg.Near})
	if err != nil {
		return err
	}
	select {
	case err = <-d.done:
		return err
	case <-ctx.Done():
		sc.Abort()
		if err = <-d.done; err != nil {
			err = context.Cause(ctx)
		}
		return err // nil if the handshake was complete before ctx ended; then the WebSocket ends by the Abort
	}
}

// Open sends the request.
func (d *dialer) Open(c *server.Conn) {
	if _, err := c.Write(d.request); err != nil {
		_ = c.CloseWithError(err) // fails if it is closed already
	}
	d.request = nil
}

// maxResponse is the largest head of the server's response, in bytes.
const maxResponse = 32 << 10

// Data reads the response. When it is complete, the connection is a WebSocket.
func (d *dialer) Data(sc *server.Conn, p []byte) (int, error) {
	end := strings.Index(string(p[:min(len(p), maxResponse)]), "\r\n\r\n")
	if end < 0 && len(p) < maxResponse {
		return 0, nil
	}
	if end >= 0 && isInformational(p[:end]) {
		return end + 4, nil
	}
	err := error(&HandshakeError{Text: "the head of the response is too long"})
	if end >= 0 {
		err = d.checkResponse(p[:end+4])
	}
	if err == nil {
		err = d.upgrade(sc)
	}
	d.end(err)
	if err != nil {
		return len(p), err
	}
	return end + 4, nil
}

// isInformational reports whether the head is that of a response such as 103, which precedes the response itself.
func isInformational(head []byte) bool {
	return len(head) >= 12 && string(head[:7]) == "HTTP/1." && string(head[8:10]) == " 1" && string(head[9:12]) != "101"
}

// upgrade makes the connection a WebSocket.
func (d *dialer) upgrade(sc *server.Conn) error {
	d.c.sc = sc
	sc.SetTimeouts(d.c.h.timeouts)
	if err := sc.SetHandler((*connHandler)(d.c)); err != nil {
		return err
	}
	if err := d.c.open(); err != nil {
		return err
	}
	if opened := d.c.h.cfg.Opened; opened != nil && !d.c.guard("Opened", func() { opened(d.c, nil) }) {
		_ = d.c.Close(CloseInternalError, "") // fails if it is closed already
	}
	return nil
}

// MaxInput implements server.LimitHandler.
func (d *dialer) MaxInput() int { return maxResponse }

// Close ends the handshake if it is not complete.
func (d *dialer) Close(_ *server.Conn, reason error) {
	if reason == nil {
		reason = ErrClosed
	}
	d.end(reason)
}

// end tells Dial the outcome.
func (d *dialer) end(err error) {
	if !d.ended {
		d.ended = true
		d.done <- err
	}
}

var _ server.LimitHandler = (*dialer)(nil)
