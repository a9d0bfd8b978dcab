package server_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Clients send single bytes, never read, reset at any time, send noise or disconnect; others are served meanwhile, and the memory of the
// server stays within its limits.
func TestHostileClientsDisturbNoOtherClient(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const limit = 4 << 20
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p, MaxBuffered: limit, MaxOutput: 100_000, HandshakeTimeout: testkit.Patience, Socket: tight()})
		stop := make(chan struct{})
		stopped := func() bool {
			select {
			case <-stop:
				return true
			default:
				return false
			}
		}
		var hostile, good sync.WaitGroup
		var clients []net.Conn
		var conns []*server.Conn
		for range 4 {
			c, nc := p.connect(t, s)
			clients, conns = append(clients, nc), append(conns, c)
		}
		for i := range 12 {
			hostile.Go(func() {
				for !stopped() {
					nc, err := net.Dial(s.addr.Network(), s.addr.String())
					if err != nil { // for example because the queue of a unix socket is full
						time.Sleep(time.Millisecond)
						continue
					}
					if r.tls && rand.IntN(8) > 0 { // otherwise random bytes
						nc = tls.Client(nc, clientTLS())
					}
					disturb(nc, i)
				}
			})
		}
		for i, nc := range clients {
			good.Go(func() {
				exchangeLines(t, s, i, nc, conns[i], limit)
				_ = nc.Close()
			})
		}
		good.Wait()
		close(stop)
		hostile.Wait()
		s.shutdown(t)
		s.drained(t)
	})
}

// exchangeLines makes the i-th ordinary client, whose connection is c, send a hundred lines and read each again, and checks the limit of
// the server.
func exchangeLines(t *testing.T, s *running, i int, nc net.Conn, c *server.Conn, limit int64) {
	for j := range 100 {
		line := fmt.Sprintf("good client %d says %d\n", i, j)
		giveTime(t, nc)
		if _, err := io.WriteString(nc, line); err != nil {
			t.Errorf("client %d: %v; the server closed it for %v", i, err, context.Cause(c.Context()))
			return
		}
		got := make([]byte, len(line))
		if _, err := io.ReadFull(nc, got); err != nil || string(got) != line {
			t.Errorf("client %d read %q, %v; want %q; the server closed it for %v", i, got, err, line, context.Cause(c.Context()))
			return
		}
		if n := s.Stats().BufferedBytes; n > limit+64<<10 {
			t.Errorf("%d bytes are buffered, the limit is %d", n, limit)
		}
	}
}

// disturb does something hostile to the server, and disconnects.
func disturb(nc net.Conn, how int) {
	switch how % 6 {
	case 0: // sends single bytes
		for range 10 {
			if _, err := nc.Write([]byte("x")); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
	case 1: // never reads
		_ = nc.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		for p := make([]byte, 50_000); ; {
			if _, err := nc.Write(p); err != nil {
				break
			}
		}
	case 2: // resets in the middle of a request
		_, _ = nc.Write(make([]byte, rand.IntN(100_000)))
		if tcp, ok := raw(nc).(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	case 3: // sends nothing
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	case 4: // closes its half at once, and reads nothing
		_, _ = nc.Write([]byte("x"))
		if hc, ok := nc.(halfCloser); ok {
			_ = hc.CloseWrite()
		}
	case 5: // disconnects with the answer unread
		_, _ = nc.Write([]byte("question"))
	}
	_ = raw(nc).Close()
}

// Two thousand clients are connected at once. Afterwards the server holds nothing.
func TestTwoThousandClientsConnectAndDisconnect(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		clients := 2000
		if r.tls {
			clients = 200 // handshakes are expensive
		}
		p := newProbe(calls{data: echo})
		s := start(t, r, &server.Server{Handler: p, MaxConns: 3 * clients})
		var all sync.WaitGroup
		for i := range clients {
			all.Go(func() {
				for range 2 {
					nc, err := net.DialTimeout(s.addr.Network(), s.addr.String(), testkit.Patience)
					if err != nil {
						if r.network == "unix" { // its queue of connections may be full
							continue
						}
						t.Error(err)
						return
					}
					talk := nc
					if r.tls {
						talk = tls.Client(nc, clientTLS())
					}
					if i%3 > 0 {
						line := fmt.Sprintf("client %d", i)
						_, err = io.WriteString(talk, line)
						got := make([]byte, len(line))
						if err == nil {
							_, err = io.ReadFull(talk, got)
						}
						if err != nil || string(got) != line {
							t.Errorf("read %q, %v; want %q", got, err, line)
						}
					}
					_ = nc.Close()
				}
			})
		}
		all.Wait()
		s.shutdown(t)
		s.drained(t)
		if st := s.Stats(); st.Refused > 0 {
			t.Errorf("%d connections were refused", st.Refused)
		}
	})
}

// Reads have a budget, so that a client that sends very much does not occupy the loop alone.
func TestAClientThatSendsMuchDoesNotDelayOthers(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		flooded := make(chan struct{}, 1)
		p.data = func(c *server.Conn, p []byte) (int, error) {
			if p[0] == 0 {
				select {
				case flooded <- struct{}{}:
				default:
				}
				return len(p), nil
			}
			return c.Write(p)
		}
		s := start(t, r, &server.Server{Handler: p, NumLoops: 1})
		for range 3 {
			_, nc := p.connect(t, s)
			go func() {
				for junk := make([]byte, 1<<20); ; {
					if _, err := nc.Write(junk); err != nil {
						return
					}
				}
			}()
		}
		testkit.Await(t, flooded, "the flood")
		_, nc := p.connect(t, s)
		for range 50 {
			send(t, nc, "hello")
			expect(t, nc, "hello")
		}
	})
}
