package server_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// The counters do not decrease when a connection ends whose handler still runs, or when a listener closes.
func TestCountersNeverDecrease(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		started, release := make(chan bool, 1), make(chan bool)
		d := &server.Dispatcher{Framing: framing.Lines{}, Serve: func(w server.Reply, m []byte) {
			if string(m) == "slow" {
				started <- true
				<-release
			}
			_, _ = w.WriteString("ok\n")
		}}
		s := start(t, r, &server.Server{Handler: d, CloseTimeout: brief})
		last := s.Stats()
		grown := func(when string) {
			t.Helper()
			now := s.Stats()
			for _, c := range []struct {
				name    string
				was, is uint64
			}{
				{"BytesRead", last.BytesRead, now.BytesRead}, {"BytesWritten", last.BytesWritten, now.BytesWritten}, {"Requests", last.Requests, now.Requests},
				{"Accepted", last.Accepted, now.Accepted}, {"Opened", last.Opened, now.Opened}, {"Closed", last.Closed, now.Closed},
			} {
				if c.is < c.was {
					t.Errorf("%s went from %d to %d %s", c.name, c.was, c.is, when)
				}
			}
			last = now
		}
		nc := s.dial(t)
		for range 10 {
			send(t, nc, "a\n")
			expect(t, nc, "ok\n")
			grown("with a request")
		}
		send(t, nc, "slow\n")
		<-started
		grown("when a handler runs")
		for c := range s.Conns() {
			c.Abort()
		}
		testkit.Until(t, "the end of the connection", func() bool {
			grown("when the connection ends")
			for range s.Conns() {
				return false
			}
			return true
		})
		close(release)
		testkit.Until(t, "the end of the handler", func() bool {
			grown("when the handler ends")
			return s.Stats().OpenConns == 0
		})
		if last.Requests != 10 || last.BytesRead != 25 || last.BytesWritten != 30 || last.Accepted != 1 {
			t.Errorf("%+v; want 10 requests, 25 bytes read, 30 written, 1 connection", last)
		}
		s.shutdown(t)
		grown("when the server ends")
	})
}

// The server still counts them.
func TestAClosedListenersConnectionsStayCounted(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
	ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	nc := (&running{s.Server, s.rig, ln.Addr()}).dial(t)
	testkit.Must(t, pipelined(nc, "hello", 1))
	testkit.Must(t, ln.Close())
	testkit.Must(t, ln.Wait())
	if n := s.Stats().Accepted; n != 1 || ln.Accepted() != 1 {
		t.Errorf("the server counts %d, the listener %d; want 1", n, ln.Accepted())
	}
}

// Busy counts them, and Requests those that a worker has answered.
func TestRefusedRequestsAreNotAnswered(t *testing.T) {
	for _, concurrent := range []int{1, 4} {
		block := make(chan bool)
		d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Serve: func(w server.Reply, m []byte) {
			<-block
			_, _ = w.WriteString("answer\n")
		}}
		s := start(t, rig{"tcp", false, 1}, &server.Server{Workers: 1, Queue: 1, WhenFull: server.FullRefuse, BusyText: "busy\n", Handler: d})
		var clients []net.Conn
		for i := range 7 {
			nc := s.dial(t)
			clients = append(clients, nc)
			send(t, nc, "x\n")
			if i >= 2 {
				expect(t, nc, "busy\n")
			} else { // one runs, one waits
				testkit.Until(t, "its place", func() bool {
					st := s.Stats()
					return st.RunningRequests+st.QueuedRequests == i+1 && (i > 0 || st.RunningRequests == 1)
				})
			}
		}
		if st := s.Stats(); st.Requests != 0 || st.Busy != 5 {
			t.Errorf("before a handler has returned: %d requests, %d refused; want 0 and 5", st.Requests, st.Busy)
		}
		close(block)
		for _, nc := range clients[:2] {
			expect(t, nc, "answer\n")
		}
		if st := s.Stats(); st.Requests != 2 || st.Busy != 5 {
			t.Errorf("in the end: %d requests, %d refused; want 2 and 5", st.Requests, st.Busy)
		}
		send(t, clients[6], "y\n") // a connection that was refused before is counted when it is answered
		expect(t, clients[6], "answer\n")
		if st := s.Stats(); st.Requests != 3 {
			t.Errorf("%d requests, want 3", st.Requests)
		}
	}
}

// The datagrams are handled on the loop or on workers, or counted as dropped. None that was received disappears.
func TestDatagramsThatHaveArrivedAreHandledAtShutdown(t *testing.T) {
	for _, dispatched := range []bool{false, true} {
		for _, gently := range []bool{true, false} {
			t.Run(fmt.Sprint("dispatched ", dispatched, ", gently ", gently), func(t *testing.T) {
				const datagrams = 100
				var handled atomic.Uint64
				h := func(pc *server.PacketConn, p []byte, from netip.AddrPort) { handled.Add(1) }
				if dispatched {
					h = server.DispatchPackets(h)
				}
				s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines(), CloseTimeout: brief})
				pc, err := s.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: h})
				testkit.Must(t, err)
				nc := s.dial(t)
				testkit.Must(t, pipelined(nc, "hello", 1))
				gate := make(chan struct{})
				for c := range s.Conns() {
					testkit.Must(t, c.Loop().Post(func() { <-gate })) // busy for a moment
				}
				u := dialPacket(t, pc.LocalAddr().String())
				for range datagrams {
					send(t, u, "datagram")
				}
				awaitDatagrams(t, pc.FD(), datagrams)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if gently {
						s.shutdown(t)
					} else {
						_ = s.Close()
					}
				}()
				testkit.Until(t, "the beginning of the end", func() bool { _, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil); return err != nil })
				close(gate)
				testkit.Await(t, ended, "the end of the server")
				testkit.Until(t, "the end of the handlers", func() bool { return s.Stats().RunningRequests == 0 })
				st := pc.Stats()
				if st.Received != handled.Load()+st.Dropped {
					t.Errorf("%d received, %d handled, %d dropped", st.Received, handled.Load(), st.Dropped)
				}
				if gently && (handled.Load() != datagrams || st.Dropped != 0) {
					t.Errorf("%d of %d datagrams that had arrived were handled, %d dropped", handled.Load(), datagrams, st.Dropped)
				}
			})
		}
	}
}

// A negative value means no limit in every field that limits something. Workers is a count and refuses it.
func TestUnlimitedLimitsNothing(t *testing.T) {
	const forever = 1<<63 - 1
	for name, srv := range map[string]*server.Server{
		"Queue":         {Queue: server.Unlimited},
		"MaxInput":      {MaxInput: server.Unlimited},
		"MaxOutput":     {MaxOutput: server.Unlimited},
		"MaxConns":      {MaxConns: server.Unlimited},
		"AcceptBudget":  {AcceptBudget: server.Unlimited},
		"MaxHandshakes": {MaxHandshakes: server.Unlimited},
		"MaxBuffered":   {MaxBuffered: server.Unlimited},
		"Timeouts": {IdleTimeout: forever, ReadTimeout: forever, WriteTimeout: forever, CloseTimeout: forever, FirstRequestTimeout: forever,
			HandshakeTimeout: forever},
		"negative Timeouts": {IdleTimeout: -1, ReadTimeout: -1, WriteTimeout: -1, CloseTimeout: -1, FirstRequestTimeout: -1, HandshakeTimeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				one := &server.Server{Queue: srv.Queue, MaxInput: srv.MaxInput, MaxOutput: srv.MaxOutput, MaxConns: srv.MaxConns, AcceptBudget: srv.AcceptBudget,
					MaxHandshakes: srv.MaxHandshakes, MaxBuffered: srv.MaxBuffered, IdleTimeout: srv.IdleTimeout, ReadTimeout: srv.ReadTimeout,
					WriteTimeout: srv.WriteTimeout, CloseTimeout: srv.CloseTimeout, FirstRequestTimeout: srv.FirstRequestTimeout,
					HandshakeTimeout: srv.HandshakeTimeout, Handler: echoLines(), NumLoops: 1}
				s := start(t, r, one)
				nc := s.dial(t)
				testkit.Must(t, pipelined(nc, strings.Repeat("x", 1000), 100))
				hangUp(nc)
				s.shutdown(t)
			})
		})
	}
	srv := &server.Server{Workers: server.Unlimited, Handler: calls{}}
	testkit.CheckErr(t, "Workers", srv.Start(), server.ErrInvalid)
}

// All requests of a burst are answered, in order.
func TestAnUnlimitedQueueKeepsEveryRequest(t *testing.T) {
	release := make(chan bool)
	var served atomic.Int64
	d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: 5000, Placement: server.OnWorkers, Serve: func(w server.Reply, m []byte) {
		<-release
		served.Add(1)
		_, _ = w.Write(append(m, '\n'))
	}}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Queue: server.Unlimited, Workers: 2, Handler: d})
	nc := s.dial(t)
	var want strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&want, "request %d\n", i)
	}
	send(t, nc, want.String())
	testkit.Until(t, "the burst to wait", func() bool { return s.Stats().QueuedRequests == 4998 })
	close(release)
	expect(t, nc, want.String())
	if served.Load() != 5000 {
		t.Errorf("%d of 5000 requests were served", served.Load())
	}
}

// The counters are read while they change, without data races. When the server is idle, they agree with each other.
func TestCountersAreReadByAnyGoroutine(t *testing.T) {
	const clients, lines = 4, 20
	conns := 10 // of each client
	if testkit.Full() {
		conns = 20
	}
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			_, _ = w.Write(append(line, '\n'))
		})})
		var readers, running sync.WaitGroup
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
		for range clients {
			running.Go(func() {
				for range conns {
					nc := s.dial(t)
					if err := pipelined(nc, "count", lines); err != nil {
						t.Error(err)
					}
					hangUp(nc)
				}
			})
		}
		running.Wait()
		close(over)
		readers.Wait()
		s.shutdown(t)
		opened := uint64(clients * conns)
		if st := s.Stats(); st.Requests != opened*lines || st.Opened != opened || st.Closed != opened || st.BytesRead != st.BytesWritten || st.BufferedBytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}
