package server_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The memory is that of incomplete ClientHellos after the command, of output after the command whose client never starts its handshake, and of
// input that a client sends while its handshake waits.
func TestTheMemoryOfAStartTLSCounts(t *testing.T) {
	hello := append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0}, make([]byte, 16<<10)...)
	early := append(clientHello(t), append([]byte{23, 3, 3, 0x40, 0}, make([]byte, 16<<10)...)...)
	for name, row := range map[string]struct {
		say    []byte
		behind int // bytes that are written after the call
	}{
		"half a hello": {say: hello[:15<<10]}, "a byte of a hello": {say: hello[:1]},
		"output behind it": {behind: 32 << 10}, "a byte behind it": {behind: 1}, "early data": {say: early},
	} {
		t.Run(name, func(t *testing.T) {
			config := sessionless(true)
			gate := make(chan struct{})
			config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				<-gate
				return nil, nil
			}
			p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
				if _, err := c.WriteString("ready\n"); err != nil {
					return 0, err
				}
				err := c.StartTLS(config, nil)
				if row.behind > 0 {
					_, _ = c.Write(make([]byte, row.behind)) // it may be refused
				}
				return len(p), err
			}})
			clients, limit := 400, int64(800<<10)
			if testkit.Full() {
				clients, limit = 1000, 2<<20
			}
			a := newAttack(t, rig{"tcp", false, 1}, &server.Server{Handler: p, HandshakeTimeout: testkit.Patience, MaxHandshakes: 1, MaxBuffered: limit})
			t.Cleanup(func() { close(gate) })
			for range clients {
				_, nc := p.connect(t, a.running)
				a.clients = append(a.clients, nc)
			}
			a.before = heap()
			for _, nc := range a.clients {
				send(t, nc, "STARTTLS\n")
			}
			for _, nc := range a.clients {
				_, _ = io.ReadFull(nc, make([]byte, len("ready\n")))
				_, _ = nc.Write(row.say) // the server may have closed the connection
			}
			a.awaitIdle(t)
			a.check(t)
			for _, nc := range a.clients {
				reset(t, nc)
			}
		})
	}
}

// After Detach the connection is not counted any more.
func TestTheMemoryOfAConnectionCountsWhileDetachWaits(t *testing.T) {
	for _, secure := range []bool{false, true} {
		config := sessionless(secure)
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { return 0, nil }})
		a := newAttack(t, rig{"tcp", secure, 1}, &server.Server{Handler: p, TLS: config, Socket: tight(), MaxBuffered: 4 << 20})
		const clients = 200
		var conns []*server.Conn
		for range clients {
			c, nc := p.connect(t, a.running)
			conns, a.clients = append(conns, c), append(a.clients, nc)
		}
		a.before = heap()
		for _, nc := range a.clients {
			_, _ = nc.Write(make([]byte, 10<<10)) // it may be closed
		}
		a.awaitIdle(t)
		ended := make(chan net.Conn, clients)
		detached := 0
		for _, c := range conns {
			for range 20 {
				_, _ = c.Write(make([]byte, 64<<10)) // it may be refused
			}
			if c.Detach(func(nc net.Conn, _ []byte, _ error) { ended <- nc }) == nil {
				detached++
			}
		}
		a.awaitIdle(t)
		a.check(t)
		for _, c := range conns {
			c.Abort()
		}
		for range detached {
			if nc := testkit.Await(t, ended, "Detach's end"); nc != nil {
				testkit.Must(t, nc.Close())
			}
		}
		testkit.Until(t, "the end", func() bool { return a.Stats().OpenConns == 0 })
		a.drained(t)
	}
}
