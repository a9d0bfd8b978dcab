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

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// detachResult has the arguments of Detach's function.
type detachResult struct {
	nc   *tls.Conn
	rest []byte
}

// detachTLS detaches c, which uses TLS.
func detachTLS(t *testing.T, c *server.Conn) detachResult {
	t.Helper()
	got := make(chan detachResult, 1)
	testkit.Must(t, c.Detach(func(nc net.Conn, rest []byte, err error) {
		if err != nil {
			t.Error(err)
			close(got)
			return
		}
		got <- detachResult{nc.(*tls.Conn), rest}
	}))
	h := testkit.Await(t, got, "Detach")
	if h.nc == nil {
		t.FailNow()
	}
	t.Cleanup(func() { h.nc.Close() })
	testkit.Must(t, h.nc.SetDeadline(time.Now().Add(testkit.Patience)))
	return h
}

// The session continues in both directions, with input that was decrypted and input that was not, half-closes and ends. The server does not count
// it any more.
func TestADetachedTLSConnectionContinuesItsSession(t *testing.T) {
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
				testkit.Must(t, err)
				testkit.Until(t, "the input", func() bool { return c.Stats().BytesRead > 0 })
				h := detachTLS(t, c)
				testkit.CheckErr(t, "Close", testkit.Await(t, p.closed, "Close"), server.ErrDetached)
				testkit.Until(t, "the end of what is counted", func() bool {
					st := s.Stats()
					return st.BufferedBytes == 0 && st.OpenConns == 0
				})
				left := make([]byte, len(message)-len(h.rest))
				_, err = io.ReadFull(h.nc, left)
				testkit.Must(t, err)
				if !bytes.Equal(append(h.rest, left...), message) {
					t.Errorf("%d bytes of rest and %d that were read are not what was sent", len(h.rest), len(left))
				}
				if state := h.nc.ConnectionState(); state.Version != version || !state.HandshakeComplete {
					t.Errorf("the session is of version %x, complete: %v", state.Version, state.HandshakeComplete)
				}
				_, err = h.nc.Write(message)
				testkit.Must(t, err)
				echo := make([]byte, len(message))
				_, err = io.ReadFull(nc, echo)
				testkit.Must(t, err)
				if !bytes.Equal(echo, message) {
					t.Error("the answer is not what was sent")
				}
				testkit.Must(t, h.nc.SetReadDeadline(time.Now().Add(-time.Second)))
				if _, err := h.nc.Read(echo); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a read after its deadline: %v", err)
				}
				testkit.Must(t, h.nc.SetReadDeadline(time.Now().Add(testkit.Patience)))
				closeWrite(t, nc) // the client's half is closed first; ours stays open
				expectEOF(t, h.nc)
				send(t, h.nc, "last")
				testkit.Must(t, h.nc.CloseWrite())
				expect(t, nc, "last")
				expectEOF(t, nc)
			})
		})
	}
}

func TestAnIncompleteRecordIsReadAfterDetach(t *testing.T) {
	p := newProbe(calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }})
	s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: p})
	halves := &halving{Conn: s.dialPlain(t)}
	tc := tls.Client(halves, clientTLS())
	testkit.Must(t, tc.Handshake())
	c := testkit.Await(t, p.opened, "Open")
	send(t, tc, "whole,")
	testkit.Until(t, "the first record", func() bool { return c.Stats().BytesRead == 6 })
	halves.hold = true
	send(t, tc, "half and half")
	h := detachTLS(t, c)
	if string(h.rest) != "whole," {
		t.Errorf("the rest is %q", h.rest)
	}
	halves.hold = false
	_, err := halves.Conn.Write(halves.held)
	testkit.Must(t, err)
	expect(t, h.nc, "half and half")
	send(t, h.nc, "answer")
	expect(t, tc, "answer")
}

// halving is a client's net.Conn that delays the second half of each write.
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

// Its output is sent first.
func TestAClientsTLSConnectionIsDetached(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p, MaxInput: 1 << 20}) // the echo may come before Detach
		h := newProbe(calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }})
		c, err := s.Dial(t.Context(), s.addr.Network(), s.addr.String(), &server.DialConfig{Handler: h, TLS: clientTLS()})
		testkit.Must(t, err)
		message := noise(100 << 10)
		_, err = c.Write(message) // before it is connected
		testkit.Must(t, err)
		out := detachTLS(t, c)
		echo := make([]byte, len(message)-len(out.rest))
		_, err = io.ReadFull(out.nc, echo)
		testkit.Must(t, err)
		if !bytes.Equal(append(out.rest, echo...), message) {
			t.Error("the echo is not what was sent")
		}
		testkit.Must(t, out.nc.Close())
		testkit.CheckErr(t, "the server's Close", testkit.Await(t, p.closed, "Close"), io.EOF)
	})
}

// One callback calls both, in this order.
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
		ours := testkit.Await(t, got, "Detach")
		defer ours.Close()
		send(t, tc, "hello")
		expect(t, ours, "hello")
		send(t, ours, "answer")
		expect(t, tc, "answer")
	})
}

// The connection does not belong to the server any more.
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
		testkit.Must(t, h.nc.Close())
		expectEOF(t, nc)
	})
}
