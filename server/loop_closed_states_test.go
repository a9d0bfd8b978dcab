package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A connectionState says how to bring a connection into a state.
type connectionState struct {
	socket   server.SocketOptions
	limit    server.RateLimit
	accepted func(t *testing.T, c *server.Conn, outcome func(error)) int // for accepted connections; returns the number of outcomes
	dial     *server.DialConfig                                          // for dialled ones
	address  string
}

// connectionStates returns states of accepted connections, by name. big is a file of 8 MB.
func connectionStates(big *os.File) map[string]connectionState {
	much := make([]byte, 900<<10) // more than the kernel buffers
	return map[string]connectionState{
		"idle": {accepted: func(*testing.T, *server.Conn, func(error)) int { return 0 }},
		"a write waits": {accepted: func(t *testing.T, c *server.Conn, outcome func(error)) int {
			testkit.Must(t, c.WriteNotify(much, outcome))
			testkit.Must(t, c.WriteNotify([]byte("last"), outcome))
			return 2
		}, socket: tight()},
		"a file waits": {accepted: func(t *testing.T, c *server.Conn, outcome func(error)) int {
			testkit.Must(t, c.SendFile(big, 0, 8<<20, outcome))
			return 1
		}, socket: tight()},
		"paused": {accepted: func(_ *testing.T, c *server.Conn, _ func(error)) int { c.PauseRead(nil); return 0 }},
		"closing": {accepted: func(t *testing.T, c *server.Conn, outcome func(error)) int {
			testkit.Must(t, c.WriteNotify(much, outcome))
			testkit.Must(t, c.Close())
			return 1
		}, socket: tight()},
		"limited": {accepted: func(t *testing.T, c *server.Conn, outcome func(error)) int {
			testkit.Must(t, c.WriteNotify(much, outcome))
			return 1
		}, limit: server.RateLimit{BytesPerSecond: 100}},
		"detaching": {accepted: func(t *testing.T, c *server.Conn, outcome func(error)) int {
			testkit.Must(t, c.WriteNotify(much, outcome))
			testkit.Must(t, c.Detach(func(nc net.Conn, _ []byte, err error) {
				if nc != nil {
					nc.Close()
				}
				outcome(err)
			}))
			return 2
		}, socket: tight()},
	}
}

// Each handler's Close is called, each write has an outcome, and nothing is left.
func TestALoopThatIsClosedEndsConnectionsInEveryState(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer silent.Close()
	outcomes := make(chan error, 10)
	outcome := func(err error) { outcomes <- err }
	big := writeFile(t, make([]byte, 8<<20))
	states := connectionStates(big)
	states["lookup"] = connectionState{dial: &server.DialConfig{Resolver: unanswered(nil)}, address: "name.example.:80"}
	states["client handshake"] = connectionState{dial: &server.DialConfig{TLS: clientTLS()}, address: silent.Addr().String()}
	for name, row := range states {
		t.Run(name, func(t *testing.T) {
			loops := programLoops(t, 1, event.DriverDefault)
			p := newProbe(calls{})
			srv := &server.Server{Handler: p, UseLoops: loops, Socket: row.socket, WriteLimit: row.limit}
			s := start(t, rig{"tcp", false, 0}, srv)
			want := 0
			if row.dial != nil {
				cfg := *row.dial
				cfg.Handler = p
				_, err := s.Dial(context.Background(), "tcp", row.address, &cfg)
				testkit.Must(t, err)
			} else {
				c, _ := p.connect(t, s)
				want = row.accepted(t, c, outcome)
			}
			testkit.Must(t, loops[0].Close())
			if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, server.ErrLoopClosed) {
				t.Errorf("the reason is %v", reason)
			}
			for range want {
				if err := testkit.Await(t, outcomes, "an outcome"); err == nil {
					t.Log("an outcome is nil") // the kernel has accepted it
				}
			}
			s.shutdown(t)
			if st := s.Stats(); st.OpenConns != 0 || st.BufferedBytes != 0 {
				t.Errorf("%d connections and %d bytes are left", st.OpenConns, st.BufferedBytes)
			}
			if n := server.WaitingFiles(srv); n != 0 {
				t.Errorf("%d files are left", n)
			}
		})
	}
	testkit.Must(t, os.Remove(big.Name()))
}

// An accepted connection whose PROXY header or TLS handshake is under way when its loop is closed is rejected.
func TestALoopThatIsClosedRejectsUnopenedConnections(t *testing.T) {
	for name, cfg := range map[string]*server.ListenerConfig{"PROXY header": {ProxyProtocol: true}, "TLS handshake": {TLS: serverTLS()}} {
		t.Run(name, func(t *testing.T) {
			loops := programLoops(t, 1, event.DriverDefault)
			rejected := make(chan error, 1)
			s := start(t, rig{"tcp", false, 0}, &server.Server{Handler: calls{}, UseLoops: loops, OnReject: func(_ *server.Conn, reason error) { rejected <- reason }})
			ln, err := s.Listen(t.Context(), "tcp", "127.0.0.1:0", cfg)
			testkit.Must(t, err)
			nc, err := net.Dial("tcp", ln.Addr().String())
			testkit.Must(t, err)
			defer nc.Close()
			testkit.Until(t, "the connection", func() bool { return s.Stats().OpenConns == 1 })
			testkit.Must(t, loops[0].Close())
			testkit.CheckErr(t, "the reason", testkit.Await(t, rejected, "OnReject"), server.ErrLoopClosed)
			s.shutdown(t)
		})
	}
}
