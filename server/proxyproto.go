package server

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"slices"

	proxyproto "github.com/pires/go-proxyproto"
)

// maxProxyHeader bounds a PROXY header: version 2 may say how long it is, and with all that proxies add it stays far below.
const maxProxyHeader = 4 << 10

// proxied is a connection that begins with a PROXY header.
type proxied struct {
	buf    []byte
	held   int      // bytes of buf counted in Server.buffered. Loop only
	source net.Addr // what the header says; nil if it says nothing (LOCAL, UNKNOWN)
}

// How the two versions begin.
const proxyWord = "PROXY "

var proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// proxyHeaderLen returns how long the header at the start of p is, 0 if that is still to come.
func proxyHeaderLen(p []byte) (int, error) {
	switch {
	case bytes.HasPrefix(p, proxySignature):
		if len(p) < 16 {
			return 0, nil
		}
		if n := 16 + int(p[14])<<8 + int(p[15]); n <= maxProxyHeader {
			return n, nil
		}
		return 0, fmt.Errorf("%w: longer than %d bytes", ErrProxyHeader, maxProxyHeader)
	case bytes.HasPrefix(p, []byte(proxyWord)):
		if i := bytes.Index(p, []byte("\r\n")); i >= 0 && i <= 105 {
			return i + 2, nil
		}
		if len(p) < 107 {
			return 0, nil
		}
		return 0, fmt.Errorf("%w: a line longer than 107 bytes", ErrProxyHeader)
	case len(p) < len(proxySignature) && bytes.Equal(p, proxySignature[:len(p)]), len(p) < len(proxyWord) && string(p) == proxyWord[:len(p)]:
		return 0, nil
	}
	return 0, fmt.Errorf("%w: the connection does not begin with one", ErrProxyHeader)
}

// dropProxyHeader gives back the memory of a header that was not complete.
func (c *loopConn) dropProxyHeader(x *proxied) {
	x.buf = nil
	c.loop.srv.hold(-x.held)
	x.held = 0
}

// readProxyHeader takes the header from p, what was read, and returns what comes behind it, which is not nil; nil while the header is
// not complete, or when the connection is closed for it.
func (c *loopConn) readProxyHeader(x *proxied, p []byte) (rest []byte) {
	if len(x.buf) > 0 {
		p = append(x.buf, p...) // which keepProxyHeader counts if it stays
	}
	n, err := proxyHeaderLen(p)
	switch {
	case err == nil && (n == 0 || len(p) < n):
		err = c.keepProxyHeader(x, p)
	case err == nil:
		if err = c.parseProxyHeader(x, p[:n]); err == nil {
			rest = p[n:len(p):len(p)]
		}
	}
	if err != nil {
		c.fail(err)
	}
	return rest
}

// keepProxyHeader keeps p, which is not complete, until more comes, unless the server has no room for it.
func (c *loopConn) keepProxyHeader(x *proxied, p []byte) error {
	s := c.loop.srv
	if err := s.overloads(len(p) - x.held); err != nil {
		return err
	}
	if len(x.buf) == 0 {
		p = slices.Clone(p) // of the loop's buffer
	}
	x.buf = p
	s.hold(cap(x.buf) - x.held)
	x.held = cap(x.buf)
	return nil
}

// parseProxyHeader notes what a complete header says. Without TLS the connection is open then.
func (c *loopConn) parseProxyHeader(x *proxied, header []byte) error {
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(header)))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProxyHeader, err)
	}
	c.mu.Lock()
	c.dropProxyHeader(x)
	if h.Command.IsProxy() && !h.TransportProtocol.IsUnspec() {
		x.source = h.SourceAddr
	}
	c.mu.Unlock()
	if c.layers.has(layerTLS) {
		c.setHandshake(handshakeHello)
	} else {
		c.setHandshake(handshakeDone)
		c.opened()
	}
	return nil
}
