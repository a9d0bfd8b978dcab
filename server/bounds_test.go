package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// attack is a server under an attack on its memory, and its clients.
type attack struct {
	*running
	limit   int64
	before  int64
	clients []net.Conn
}

// newAttack starts srv with a small MaxBuffered.
func newAttack(t *testing.T, r rig, srv *server.Server) *attack {
	t.Helper()
	if srv.MaxBuffered == 0 {
		srv.MaxBuffered = 8 << 20
	}
	s := start(t, r, srv)
	return &attack{running: s, limit: srv.MaxBuffered, before: heap()}
}

// check fails the test if the heap exceeds the server's limit and a small amount for each connection.
func (a *attack) check(t *testing.T) {
	t.Helper()
	st := a.Stats()
	most := a.limit*3/2 + int64(st.OpenConns)<<10 + 1<<20 // and a MB for the test itself
	held := heap() - a.before
	t.Logf("%d KB are held, %d KB counted, with %d connections; the bound is %d KB", held>>10, st.BufferedBytes>>10, st.OpenConns, most>>10)
	if held > most {
		t.Errorf("%d KB are held; the limit is %d KB, %d KB are counted, %d connections", held>>10, a.limit>>10, st.BufferedBytes>>10, st.OpenConns)
	}
}

// The input is that of incomplete PROXY headers, ClientHellos, records and requests of clients that send nothing more.
func TestInputBeforeARequestCounts(t *testing.T) {
	record := append([]byte{23, 3, 3, 0x40, 0}, make([]byte, 16<<10)...)
	hello := append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0}, make([]byte, 16<<10)...)
	proxy := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x0f\x00"), make([]byte, 3000)...)
	for name, row := range map[string]struct {
		tls, shake, proxy bool
		say               []byte
	}{
		"hello": {tls: true, say: hello[:15<<10]}, "a byte of a hello": {tls: true, say: hello[:1]},
		"all but a byte of a hello": {tls: true, say: hello[:5+16<<10-1]},
		"record":                    {tls: true, shake: true, say: record[:15<<10]}, "all but a byte of a record": {tls: true, shake: true, say: record[:len(record)-1]},
		"the head of a record": {tls: true, shake: true, say: record[:6]},
		"proxy":                {proxy: true, say: proxy}, "request": {say: record[:10<<10]}, "a byte": {say: record[:1]},
	} {
		t.Run(name, func(t *testing.T) {
			clients, limit := uint64(400), int64(800<<10)
			switch {
			case testkit.Full():
				clients, limit = 1000, 2<<20
			case row.shake: // handshakes are expensive
				clients, limit = 250, 500<<10
			}
			p := newProbe(calls{data: func(*server.Conn, []byte) (int, error) { return 0, nil }})
			a := newAttack(t, rig{"tcp", row.tls, 1}, &server.Server{Handler: p, ProxyProtocol: row.proxy, TLS: sessionless(row.tls), HandshakeTimeout: testkit.Patience, MaxBuffered: limit})
			for range clients {
				nc := a.dialPlain(t)
				if row.shake {
					testkit.Must(t, tls.Client(nc, clientTLS()).Handshake())
				}
				a.clients = append(a.clients, nc)
			}
			if row.shake { // the memory of crypto/tls for a connection does not count
				testkit.Until(t, "the handshakes", func() bool { return a.Stats().Opened == clients })
				a.before = heap()
			}
			for _, nc := range a.clients {
				_, _ = nc.Write(row.say) // the server may have closed the connection
			}
			testkit.Until(t, "the input", func() bool { return a.Stats().Accepted == clients })
			a.awaitIdle(t)
			a.check(t)
			for _, nc := range a.clients {
				reset(t, nc)
			}
			testkit.Until(t, "the end", func() bool { return a.Stats().OpenConns == 0 })
			a.drained(t)
		})
	}
}

// sessionless is a configuration without tickets, so that a connection costs the same each time; nil without TLS.
func sessionless(on bool) *tls.Config {
	if !on {
		return nil
	}
	config := serverTLS()
	config.SessionTicketsDisabled = true
	return config
}

// Answers that wait for an older one are output that the server holds.
func TestEarlyAnswersCount(t *testing.T) {
	for _, size := range []int{1, 3 << 10, 16 << 10} {
		t.Run(fmt.Sprint("size=", size), func(t *testing.T) {
			const clients, each = 100, 64
			release := make(chan struct{})
			answer := strings.Repeat("x", size)
			d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: each, Serve: func(w server.Reply, m []byte) {
				if string(m) == "wait" {
					select {
					case <-release:
					case <-w.Context().Done():
					}
					return
				}
				_, _ = w.WriteString(answer)
			}}
			a := newAttack(t, rig{"tcp", false, 1}, &server.Server{Handler: d, CloseTimeout: brief, Workers: clients + 8, Queue: server.Unlimited})
			for range clients {
				nc := a.dial(t)
				send(t, nc, "wait\n"+strings.Repeat("x\n", each-1))
				a.clients = append(a.clients, nc)
			}
			testkit.Until(t, "the answers", func() bool {
				st := a.Stats()
				return st.QueuedRequests == 0 && int64(st.RunningRequests) == int64(st.OpenConns) && st.BytesRead > 0 && st.Opened == clients
			})
			a.check(t)
			close(release)
			for _, nc := range a.clients {
				reset(t, nc)
			}
			testkit.Until(t, "the end", func() bool { return a.Stats().OpenConns == 0 })
			a.drained(t)
		})
	}
}

// writes returns ways to write few bytes, or parts with an overhead.
func writes(f *os.File) map[string]func(c *server.Conn) error {
	return map[string]func(c *server.Conn) error{
		"a byte":            func(c *server.Conn) error { return second(c.WriteString("x")) },
		"3 KB":              func(c *server.Conn) error { return second(c.Write(make([]byte, 3<<10))) },
		"17 KB":             func(c *server.Conn) error { return second(c.Write(make([]byte, 17<<10))) },
		"nothing, owned":    func(c *server.Conn) error { return c.WriteOwned(nil, func(error) { _ = c.ID() }) },
		"32 bytes, owned":   func(c *server.Conn) error { return c.WriteOwned(make([]byte, 32), func(error) { _ = c.ID() }) },
		"nothing, notified": func(c *server.Conn) error { return c.WriteNotify(nil, func(error) { _ = c.ID() }) },
		"a byte, notified":  func(c *server.Conn) error { return c.WriteNotify([]byte("x"), func(error) { _ = c.ID() }) },
		"copies and owned": func(c *server.Conn) error {
			return errors.Join(second(c.WriteString("x")), c.WriteOwned([]byte("y"), nil))
		},
		"broadcasts": func(c *server.Conn) error {
			for _, r := range server.Broadcast([]*server.Conn{c}, []byte("hi"), func(c *server.Conn, _ error) { _ = c.ID() }) {
				return r.Err
			}
			return nil
		},
		"files": func(c *server.Conn) error { return c.SendFile(f, 0, 100, func(error) { _ = c.ID() }) },
	}
}

// The output counts whichever method has written it, and if each connection has only little of it.
func TestOutputThatWaitsCountsWithItsOverhead(t *testing.T) {
	for name, write := range writes(writeFile(t, noise(100))) {
		for _, often := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/often=%v", name, often), func(t *testing.T) {
				p := newProbe(calls{})
				limit, clients, times := int64(8<<20)/5, 300, 1
				if testkit.Full() {
					limit, clients = 8<<20, 1500
				}
				a := newAttack(t, rig{"tcp", false, 1}, &server.Server{Handler: p, WriteLimit: server.RateLimit{BytesPerSecond: 1, Burst: 64}, MaxOutput: server.Unlimited, HighWater: server.Unlimited, MaxBuffered: limit})
				server.SetMaxFiles(a.Server, 1<<30)
				if often {
					clients, times = 20, 1<<30
				}
				var conns []*server.Conn
				for range clients {
					c, nc := p.connect(t, a.running)
					conns, a.clients = append(conns, c), append(a.clients, nc)
				}
				a.before = heap()
				for _, c := range conns {
					_, err := c.Write(make([]byte, 128)) // the burst, and as many bytes, which wait for a minute; completions wait behind them
					testkit.Must(t, err)
				}
				for _, nc := range a.clients {
					expect(t, nc, strings.Repeat("\x00", 64))
				}
				for range times {
					var err error
					for _, c := range conns {
						err = write(c)
					}
					if err != nil {
						break
					}
				}
				a.check(t)
				for _, c := range conns {
					c.Abort()
				}
				testkit.Until(t, "the end", func() bool { return a.Stats().OpenConns == 0 })
				a.drained(t)
			})
		}
	}
}

// After a failed handshake it is not counted any more.
func TestOutputOfADialCountsBeforeItsTLSHandshake(t *testing.T) {
	t.Parallel()
	s, clock := startWithClock(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}})
	for range 5 {
		h := newCaller()
		c, err := s.Dial(context.Background(), "tcp", s.addr.String(), &server.DialConfig{Handler: h, TLS: clientTLS(), Timeout: limit})
		testkit.Must(t, err)
		_, err = c.Write(make([]byte, 100<<10))
		testkit.Must(t, err)
		passTime(t, c, clock, limit, "Close", func() bool { return len(h.closed) > 0 })
		h.failed(t)
	}
	testkit.Until(t, "an empty account", func() bool { return s.Stats().BufferedBytes == 0 })
}

// Output that is encrypted and not taken by the peer counts twice.
func TestRecordsThatWaitCount(t *testing.T) {
	const clients = 100
	p := newProbe(calls{})
	a := newAttack(t, rig{"tcp", true, 1}, &server.Server{Handler: p, TLS: sessionless(true), Socket: tight(), MaxBuffered: 4 << 20})
	var conns []*server.Conn
	for range clients {
		nc := a.dialPlain(t)
		testkit.Must(t, tls.Client(nc, clientTLS()).Handshake())
		conns, a.clients = append(conns, testkit.Await(t, p.opened, "Open")), append(a.clients, nc)
	}
	a.before = heap()
	for refused := 0; refused < 3; refused++ { // successive rounds in which all was refused
		for _, c := range conns {
			if _, err := c.Write(make([]byte, 32<<10)); err == nil {
				refused = 0
			}
		}
		onLoop(t, conns[0], func() {})
	}
	a.check(t)
	for _, nc := range a.clients {
		reset(t, nc)
	}
	testkit.Until(t, "the end", func() bool { return a.Stats().OpenConns == 0 })
	a.drained(t)
}
