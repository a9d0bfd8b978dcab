package server_test

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/server"
)

// TestS15SilentClientsTakeNoHandshake: more of them than there are handshakes and workers, some in the middle of a ClientHello, keep
// nobody waiting; and the handler never hears of them.
func TestS15SilentClientsTakeNoHandshake(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		r.tls = true
		rejected := make(chan error, 100)
		s := start(t, r, &server.Server{MaxHandshakes: 1, Workers: 1, Handler: echoLines(), OnReject: func(_ *server.Conn, err error) { rejected <- err }})
		var silent []net.Conn
		for i := range 20 {
			nc := s.dialPlain(t)
			if i%2 == 0 {
				send(t, nc, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and no more")
			}
			silent = append(silent, nc)
		}
		for range 3 {
			nc := s.dial(t)
			must(t, pipelined(nc, "hello", 10))
			closeWrite(t, nc)
			expectEOF(t, nc) // with a close_notify, or the client would complain
			hangUp(nc)
		}
		hangUp(silent...)
		for range silent {
			wantError(t, "OnReject", await(t, rejected, "OnReject"), server.ErrHandshake)
		}
		s.shutdown(t)
		if st := s.Stats(); st.Opened != 3 || st.Closed != 3 || st.Handshakes != 3 || st.FailedHandshakes != 20 {
			t.Errorf("%+v", st)
		}
	})
}

// TestS16TimersEndWithTheServer: one beside a connection fires on its loop, or is cancelled, or ends with the loop without firing.
func TestS16TimersEndWithTheServer(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		var late atomic.Int32
		s := start(t, r, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.Loop().AfterFunc(time.Millisecond, func() {
				if !c.Loop().OnLoop() {
					t.Error("a timer fired elsewhere")
				}
				_, _ = c.WriteString("tick\n") // the client sees whether it comes
			})
			must(t, err)
			var cancelled *event.Event
			cancelled, err = c.Loop().AfterFunc(2*time.Millisecond, func() { t.Error("a cancelled timer fired") })
			must(t, err)
			must(t, cancelled.Del())
			_, err = c.Loop().AfterFunc(time.Hour, func() { late.Add(1) })
			must(t, err)
			return len(p), nil
		}}})
		nc := s.dial(t)
		for range 5 {
			send(t, nc, "go")
			expect(t, nc, "tick\n")
		}
		hangUp(nc)
		s.shutdown(t)
		if late.Load() != 0 {
			t.Error("a timer of an hour fired at the shutdown")
		}
	})
}

// TestS22EveryRefusalIsTold: a broadcast to some that are open and some that are gone says which of them did not take it.
func TestS22EveryRefusalIsTold(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		opened := make(chan *server.Conn, 1)
		reasons, closed := closings()
		s := start(t, r, &server.Server{Handler: calls{open: func(c *server.Conn) { opened <- c }, close: closed}})
		var conns []*server.Conn
		var clients []net.Conn
		for range 10 {
			nc := s.dial(t)
			send(t, nc, "hello")
			clients, conns = append(clients, nc), append(conns, await(t, opened, "Open"))
		}
		for i, c := range conns {
			if i%2 == 0 {
				c.Abort()
				await(t, reasons, "Close")
			}
		}
		told := make(chan error, len(conns))
		refused := server.Broadcast(conns, []byte("news"), func(c *server.Conn, err error) { told <- err })
		if len(refused) != 5 {
			t.Fatalf("%d connections refused, want 5", len(refused))
		}
		for i, x := range refused {
			if x.Conn != conns[2*i] {
				t.Errorf("refusal %d is of another connection", i)
			}
			wantError(t, "Broadcast", x.Err, server.ErrClosed, server.ErrAborted)
		}
		for i := 1; i < len(clients); i += 2 {
			expect(t, clients[i], "news")
			must(t, await(t, told, "the outcome"))
		}
		hangUp(clients...)
		s.shutdown(t)
	})
}

// TestS23CountersAreReadFromAnywhere while everything moves: for the race detector. When all is still, they fit together.
func TestS23CountersAreReadFromAnywhere(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			_, _ = w.Write(append(line, '\n'))
		})})
		var readers, clients sync.WaitGroup
		over := make(chan struct{})
		for range 2 {
			readers.Go(func() {
				for {
					select {
					case <-over:
						return
					default:
					}
					if st := s.Stats(); st.Closed > st.Opened || st.OpenConns < 0 || st.RunningRequests > server.DefaultWorkers {
						t.Errorf("%+v", st)
					}
					for c := range s.Conns() {
						c.Stats()
						c.RemoteAddr()
						c.LocalAddr()
						c.TLS()
						if s.Conn(c.ID()) == nil && c.ID() == (server.ConnID{}) {
							t.Error("an accepted connection has no name")
						}
					}
				}
			})
		}
		for range 4 {
			clients.Go(func() {
				for range 20 {
					nc := s.dial(t)
					if err := pipelined(nc, "count", 20); err != nil {
						t.Error(err)
					}
					hangUp(nc)
				}
			})
		}
		clients.Wait()
		close(over)
		readers.Wait()
		s.shutdown(t)
		if st := s.Stats(); st.Requests != 1600 || st.Opened != 80 || st.Closed != 80 || st.BytesRead != st.BytesWritten || st.BufferedBytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}
