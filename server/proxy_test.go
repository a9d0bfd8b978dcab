package server_test

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// header2 makes a PROXY header of version 2: command and family as the specification numbers them.
func header2(command, family byte, body string) string {
	head := []byte("\r\n\r\n\x00\r\nQUIT\n")
	head = append(head, 0x20|command, family)
	return string(binary.BigEndian.AppendUint16(head, uint16(len(body)))) + body
}

const (
	body4 = "\x0a\x00\x00\x01\x0a\x00\x00\x02\x04\xd2\x00\x50" // 10.0.0.1:1234 to 10.0.0.2:80
	body6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\xd2\x00\x50"
	tlvs = "\x01\x00\x02h2" + "\x04\x00\x03\x00\x00\x00" // ALPN, and a no-op
)

var proxyHeaders = map[string]struct{ header, remote string }{
	"v1 IPv4":                   {"PROXY TCP4 10.0.0.1 10.0.0.2 1234 80\r\n", "10.0.0.1:1234"},
	"v1 IPv6":                   {"PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n", "[2001:db8::1]:1234"},
	"v1 UNKNOWN":                {"PROXY UNKNOWN\r\n", ""},
	"v1 UNKNOWN with addresses": {"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ""},
	"v2 IPv4":                   {header2(1, 0x11, body4), "10.0.0.1:1234"},
	"v2 IPv6":                   {header2(1, 0x21, body6), "[2001:db8::1]:1234"},
	"v2 TLVs":                   {header2(1, 0x11, body4+tlvs), "10.0.0.1:1234"},
	"v2 long TLVs":              {header2(1, 0x11, body4+"\xee\x0b\xb8"+strings.Repeat("x", 3000)), "10.0.0.1:1234"},
	"v2 LOCAL":                  {header2(0, 0x00, ""), ""},
	"v2 LOCAL with addresses":   {header2(0, 0x11, body4), ""},
}

// dialProxied makes a client whose proxy has sent header, in pieces of step bytes.
func (s *running) dialProxied(t *testing.T, header string, step int) net.Conn {
	t.Helper()
	nc := s.dialPlain(t)
	for p := header; p != ""; p = p[min(step, len(p)):] {
		send(t, nc, p[:min(step, len(p))])
	}
	if s.rig.tls {
		return tls.Client(nc, clientTLS())
	}
	return nc
}

// The header has either version, and comes in one piece or byte by byte, also before TLS. The bytes after it are given to the handler.
func TestTheProxysHeaderNamesThePeer(t *testing.T) {
	t.Parallel()
	for name, row := range proxyHeaders {
		t.Run(name, func(t *testing.T) {
			inAllRigs(t, func(t *testing.T, r rig) {
				p := newProbe(calls{data: echo})
				s := start(t, r, &server.Server{ProxyProtocol: true, Handler: p})
				for _, step := range []int{len(row.header), 1} {
					nc := s.dialProxied(t, row.header, step)
					testkit.Must(t, pipelined(nc, "behind it", 3))
					c := testkit.Await(t, p.opened, "Open")
					remote := row.remote
					if remote == "" {
						remote = c.PeerAddr().String()
					}
					if c.RemoteAddr().String() != remote {
						t.Errorf("the peer is %v, want %s", c.RemoteAddr(), remote)
					}
					if r.network == "tcp" && c.PeerAddr().String() != nc.LocalAddr().String() {
						t.Errorf("the proxy is %v, want %v", c.PeerAddr(), nc.LocalAddr())
					}
					hangUp(nc)
				}
				s.shutdown(t)
			})
		})
	}
}

// Proxies send them in this way.
func TestARequestMayFollowThePROXYHeaderInOnePacket(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{ProxyProtocol: true, Handler: echoLines()})
	for _, row := range proxyHeaders {
		nc := s.dial(t)
		send(t, nc, row.header+"hello\nPROXY is a word\n")
		expect(t, nc, "hello\nPROXY is a word\n")
		hangUp(nc)
	}
	s.shutdown(t)
}

// The connection ends before Open, and OnReject is called.
func TestAWrongProxyHeaderEndsTheConnection(t *testing.T) {
	for name, header := range map[string]string{
		"none":                  "GET / HTTP/1.1\r\n\r\n",
		"small letters":         "proxy TCP4 10.0.0.1 10.0.0.2 1234 80\r\n",
		"v1 without addresses":  "PROXY TCP4\r\n",
		"v1 with garbage":       "PROXY TCP4 a b c d\r\n",
		"v1 with a wrong port":  "PROXY TCP4 10.0.0.1 10.0.0.2 99999 80\r\n",
		"v1 of another family":  "PROXY TCP6 10.0.0.1 10.0.0.2 1234 80\r\n",
		"v1 without an end":     "PROXY TCP4 " + strings.Repeat("1", 200),
		"v2 of version 3":       "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c" + body4,
		"v2 of no family":       header2(1, 0x00, ""),
		"v2 with a command":     header2(7, 0x11, body4),
		"v2 too short":          header2(1, 0x11, body4[:6]),
		"v2 too long":           header2(1, 0x11, body4+strings.Repeat("x", 60000)),
		"a signature cut short": "\r\n\r\n\x00\r\nQUIX",
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				rejected := make(chan error, 10)
				s := start(t, r, &server.Server{
					ProxyProtocol: true, OnReject: func(_ *server.Conn, reason error) { rejected <- reason },
					Handler: calls{open: func(*server.Conn) { t.Error("Open was called") }, close: func(*server.Conn, error) { t.Error("Close was called") }},
				})
				nc := s.dialPlain(t)
				_, _ = io.WriteString(nc, header) // fails if the server has closed already
				_, _ = io.Copy(io.Discard, nc)
				testkit.CheckErr(t, "OnReject", testkit.Await(t, rejected, "OnReject"), server.ErrProxyHeader)
				hangUp(nc)
				s.shutdown(t)
				if st := s.Stats(); len(rejected) != 0 || st.OpenConns != 0 || st.Opened != 0 || st.BufferedBytes != 0 {
					t.Errorf("%d more rejections, %+v", len(rejected), st)
				}
			})
		})
	}
}

// The peer closes before its end, or takes too long.
func TestAnIncompletePROXYHeaderEndsTheConnection(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		rejected := make(chan error, 10)
		s := start(t, r, &server.Server{ProxyProtocol: true, Handler: calls{}, HandshakeTimeout: 1,
			OnReject: func(_ *server.Conn, reason error) { rejected <- reason }})
		nc := s.dialPlain(t)
		_, _ = io.Copy(io.Discard, nc)
		testkit.CheckErr(t, "OnReject", testkit.Await(t, rejected, "OnReject"), server.ErrProxyHeader)

		patient := start(t, r, &server.Server{ProxyProtocol: true, Handler: calls{},
			OnReject: func(_ *server.Conn, reason error) { rejected <- reason }})
		nc = patient.dialPlain(t)
		send(t, nc, "PROXY TCP4 10.")
		closeWrite(t, nc)
		_, _ = io.Copy(io.Discard, nc)
		testkit.CheckErr(t, "OnReject", testkit.Await(t, rejected, "OnReject"), server.ErrProxyHeader)
	})
}
