package server_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/evmq/evmq/server"
)

// handedOut is what Detach has given to its function.
type handedOut struct {
	nc   *tls.Conn
	rest []byte
}

// detachTLS detaches c, which speaks TLS.
func detachTLS(t *testing.T, c *server.Conn) handedOut {
	t.Helper()
	got := make(chan handedOut, 1)
	must(t, c.Detach(func(nc net.Conn, rest []byte, err error) {
		if err != nil {
			t.Error(err)
			close(got)
			return
		}
		got <- handedOut{nc.(*tls.Conn), rest}
	}))
	h := await(t, got, "Detach")
	if h.nc == nil {
		t.FailNow()
	}
	t.Cleanup(func() { h.nc.Close() })
	must(t, h.nc.SetDeadline(time.Now().Add(patience)))
	return h
}

// TestADetachedTLSConnectionGoesOnWithItsSession in both directions, with what was decrypted and what was not, halves and ends. Nothing of
// it is counted any more.
func TestADetachedTLSConnectionGoesOnWithItsSession(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			tlsRigs(t, func(t *testing.T, r rig) {
				config := serverTLS()
				config.MaxVersion = version
				p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { return 0, nil }})
				s := start(t, r, &server.Server{Handler: p, TLS: config, ReadTimeout: -1})
				c, nc := p.connect(t, s)
				message := noise(40 << 10) // some records
				_, err := nc.Write(message)
				must(t, err)
				until(t, "the input", func() bool { return c.Stats().BytesRead > 0 })
				h := detachTLS(t, c)
				wantError(t, "Close", await(t, p.closed, "Close"), server.ErrDetached)
				until(t, "the end of what is counted", func() bool {
					st := s.Stats()
					return st.BufferedBytes == 0 && st.OpenConns == 0
				})
				left := make([]byte, len(message)-len(h.rest))
				_, err = io.ReadFull(h.nc, left)
				must(t, err)
				if !bytes.Equal(append(h.rest, left...), message) {
					t.Errorf("%d bytes of rest and %d that were read are not what was sent", len(h.rest), len(left))
				}
				if state := h.nc.ConnectionState(); state.Version != version || !state.HandshakeComplete {
					t.Errorf("the session is of version %x, complete: %v", state.Version, state.HandshakeComplete)
				}
				_, err = h.nc.Write(message)
				must(t, err)
				echo := make([]byte, len(message))
				_, err = io.ReadFull(nc, echo)
				must(t, err)
				if !bytes.Equal(echo, message) {
					t.Error("the answer is not what was sent")
				}
				must(t, h.nc.SetReadDeadline(time.Now().Add(-time.Second)))
				if _, err := h.nc.Read(echo); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a read after its deadline: %v", err)
				}
				must(t, h.nc.SetReadDeadline(time.Now().Add(patience)))
				closeWrite(t, nc) // the client's half first, and ours goes on
				expectEOF(t, h.nc)
				send(t, h.nc, "last")
				must(t, h.nc.CloseWrite())
				expect(t, nc, "last")
				expectEOF(t, nc)
			})
		})
	}
}

// TestARecordThatIsHalfThereGoesWithADetachedConnection.
func TestARecordThatIsHalfThereGoesWithADetachedConnection(t *testing.T) {
	p := newProbe(calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }})
	s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: p})
	halves := &halving{Conn: s.dialPlain(t)}
	tc := tls.Client(halves, clientTLS())
	must(t, tc.Handshake())
	c := await(t, p.opened, "Open")
	send(t, tc, "whole,")
	until(t, "the first record", func() bool { return c.Stats().BytesRead == 6 })
	halves.hold = true
	send(t, tc, "half and half")
	h := detachTLS(t, c)
	if string(h.rest) != "whole," {
		t.Errorf("the rest is %q", h.rest)
	}
	halves.hold = false
	_, err := halves.Conn.Write(halves.held)
	must(t, err)
	expect(t, h.nc, "half and half")
	send(t, h.nc, "answer")
	expect(t, tc, "answer")
}

// halving is a client's net.Conn that holds the second half of each write back.
type halving struct {
	net.Conn
	hold bool
	held []byte
}

func (h *halving) Write(p []byte) (int, error) {
	if !h.hold {
		return h.Conn.Write(p)
	}
	h.held = append(h.held, p[len(p)/2:]...)
	_, err := h.Conn.Write(p[:len(p)/2])
	return len(p), err
}

// TestAClientsTLSConnectionIsDetached, after what it has written.
func TestAClientsTLSConnectionIsDetached(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p})
		h := newProbe(calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }})
		c, err := s.Dial(t.Context(), s.addr.Network(), s.addr.String(), &server.DialConfig{Handler: h, TLS: clientTLS()})
		must(t, err)
		message := noise(100 << 10)
		_, err = c.Write(message) // before it is connected
		must(t, err)
		out := detachTLS(t, c)
		echo := make([]byte, len(message)-len(out.rest))
		_, err = io.ReadFull(out.nc, echo)
		must(t, err)
		if !bytes.Equal(append(out.rest, echo...), message) {
			t.Error("the echo is not what was sent")
		}
		must(t, out.nc.Close())
		wantError(t, "the server's Close", await(t, p.closed, "Close"), io.EOF)
	})
}

// TestAConnectionIsDetachedAfterStartTLS: both in one callback, in this order.
func TestAConnectionIsDetachedAfterStartTLS(t *testing.T) {
	plainRigs(t, func(t *testing.T, r rig) {
		got := make(chan net.Conn, 1)
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.WriteString("ready\n")
			return len(p), errors.Join(err, c.StartTLS(serverTLS(), nil), c.Detach(func(nc net.Conn, _ []byte, err error) {
				if err != nil {
					t.Error(err)
				}
				got <- nc
			}))
		}})
		s := start(t, r, &server.Server{Handler: p})
		_, nc := p.connect(t, s)
		tc := upgradeClient(t, nc)
		ours := await(t, got, "Detach")
		defer ours.Close()
		send(t, tc, "hello")
		expect(t, ours, "hello")
		send(t, ours, "answer")
		expect(t, tc, "answer")
	})
}

// TestADetachedTLSConnectionSurvivesItsServer: it is no part of it any more.
func TestADetachedTLSConnectionSurvivesItsServer(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		h := detachTLS(t, c)
		s.shutdown(t)
		s.drained(t)
		send(t, nc, "hello")
		expect(t, h.nc, "hello")
		if _, ok := c.TLS(); !ok {
			t.Error("the Conn does not know the session any more")
		}
		must(t, h.nc.Close())
		expectEOF(t, nc)
	})
}
