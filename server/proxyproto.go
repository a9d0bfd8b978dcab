package server

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"slices"

	proxyproto "github.com/pires/go-proxyproto"
)

// maxProxyHeader limits the length of a PROXY header. Version 2 contains its length; headers of proxies are much shorter than the limit.
const maxProxyHeader = 4 << 10

// proxied is the state of a connection that begins with a PROXY header.
type proxied struct {
	buf     []byte
	counted int      // bytes of buf counted in Server.buffered. Loop only
	source  net.Addr // the address in the header; nil if it has none (LOCAL, UNKNOWN)
}

// A header of version 1 begins with proxyWord, and one of version 2 with proxySignature.
const proxyWord = "PROXY "

var proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")

// proxyHeaderLen returns the length of the header at the start of p, or 0 if p is too short to tell.
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

// dropProxyHeader releases the memory of a header that was not complete.
func (c *loopConn) dropProxyHeader(x *proxied) {
	x.buf = nil
	c.loop.srv.addBuffered(-x.counted)
	x.counted = 0
}

// readProxyHeader removes the header from p, the bytes that were read, and returns the bytes after it, which are not nil. It returns nil
// while the header is not complete, and when it has closed the connection because the header is invalid.
func (c *loopConn) readProxyHeader(x *proxied, p []byte) (rest []byte) {
	if len(x.buf) > 0 {
		p = append(x.buf, p...) // counted by keepProxyHeader if it is kept
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

// keepProxyHeader stores p, which is not complete, until more bytes arrive. It fails if the server has no room for them.
func (c *loopConn) keepProxyHeader(x *proxied, p []byte) error {
	s := c.loop.srv
	if err := s.overloads(len(p) - x.counted); err != nil {
		return err
	}
	if len(x.buf) == 0 {
		p = slices.Clone(p) // it is in the loop's buffer
	}
	x.buf = p
	s.addBuffered(cap(x.buf) - x.counted)
	x.counted = cap(x.buf)
	return nil
}

// parseProxyHeader stores the address of a complete header, and opens the connection if it has no TLS.
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
