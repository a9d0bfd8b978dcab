package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// otherClient makes a connection that must be served whatever happens to others.
func otherClient(t *testing.T, s *running) (check func()) {
	t.Helper()
	nc := s.dial(t)
	check = func() {
		t.Helper()
		testkit.Must(t, pipelined(nc, "still here", 1))
	}
	check()
	return check
}

// goexitHandler is a Handler whose callback with the name where calls end.
type goexitHandler struct {
	where string
	end   func()
}

func (h goexitHandler) at(where string) {
	if where == h.where {
		h.end()
	}
}

func (h goexitHandler) Open(c *server.Conn) {
	h.at("Open")
	if h.where == "LowWater" || h.where == "HighWater" {
		_, _ = c.Write(make([]byte, 1<<20))
	}
}

func (h goexitHandler) Data(c *server.Conn, p []byte) (int, error) {
	h.at("Data")
	switch h.where {
	case "done":
		return len(p), c.WriteNotify(p, func(error) { h.at("done") })
	case "broadcast":
		server.Broadcast([]*server.Conn{c}, p, func(*server.Conn, error) { h.at("broadcast") })
	case "Detach":
		return len(p), c.Detach(func(nc net.Conn, _ []byte, _ error) { _ = nc.Close(); h.at("Detach") })
	case "Close":
		c.Close()
	case "done of an abort":
		_ = c.SendFile(os.Stdin, 0, 1, func(error) { h.at("done of an abort") })
		c.Abort()
	}
	return len(p), nil
}
func (h goexitHandler) EOF(c *server.Conn)        { h.at("EOF"); c.Close() }
func (h goexitHandler) HighWater(*server.Conn)    { h.at("HighWater") }
func (h goexitHandler) LowWater(*server.Conn)     { h.at("LowWater") }
func (h goexitHandler) Close(*server.Conn, error) { h.at("Close") }

// A call of runtime.Goexit in any callback of a connection, or a panic that an option of the loops recovers from, ends that connection and no
// other; the server counts nothing of it afterwards, and shuts down in order.
func TestACallbackThatEndsItsGoroutineCostsItsOwnConnection(t *testing.T) {
	t.Parallel()
	ends := map[string]func(){"Goexit": runtime.Goexit, "recovered panic": func() { panic("in a callback") }}
	for _, where := range []string{"Open", "Data", "EOF", "HighWater", "LowWater", "Close", "done", "broadcast", "Detach", "done of an abort"} {
		for name, end := range ends {
			for _, loops := range []int{1, 2} {
				t.Run(where+"/"+name+"/"+map[int]string{1: "its own loop", 2: "two loops"}[loops], func(t *testing.T) {
					t.Parallel()
					recovered := &event.Config{PanicHandler: func(any, []byte) {}}
					var called atomic.Int32
					h := goexitHandler{where, func() { called.Add(1); end() }}
					s := start(t, rig{"tcp", false, loops}, &server.Server{CloseTimeout: brief, Handler: echoLines(), LoopConfig: recovered, Socket: tight()})
					check := otherClient(t, s)
					ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: h})
					testkit.Must(t, err)
					for range 3 {
						before := called.Load()
						nc := (&running{s.Server, rig{"tcp", false, loops}, ln.Addr()}).dial(t)
						_, _ = nc.Write([]byte("x"))
						if where == "EOF" {
							closeWrite(t, nc)
						}
						_, _ = io.Copy(io.Discard, nc) // the end of the connection
						hangUp(nc)
						testkit.Until(t, where, func() bool { return called.Load() > before })
						check()
					}
					testkit.Until(t, "the end of the connections", func() bool { return s.Stats().OpenConns == 1 })
					s.shutdown(t)
					if st := s.Stats(); st.Opened != st.Closed || st.BufferedBytes != 0 {
						t.Errorf("%+v", st)
					}
				})
			}
		}
	}
}

// The socket still receives.
func TestAPacketHandlerThatEndsItsGoroutineCostsNoConnection(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{CloseTimeout: brief, Handler: echoLines()})
	pc, err := s.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
		if string(p) == "exit" {
			runtime.Goexit()
		}
		echoPacket(pc, p, from)
	}})
	testkit.Must(t, err)
	check := otherClient(t, s)
	u := dialPacket(t, pc.LocalAddr().String())
	for range 3 {
		send(t, u, "exit")
		send(t, u, "next")
		expectPacket(t, u, "next")
		check()
	}
}

// Timers and posts of users on a server's loop belong to no connection.
func TestATimerThatEndsItsGoroutineCostsNoConnection(t *testing.T) {
	p := newProbe(calls{data: echo})
	s := start(t, rig{"tcp", false, 1}, &server.Server{CloseTimeout: brief, Handler: p})
	c, nc := p.connect(t, s)
	for range 3 {
		send(t, nc, "x")
		expect(t, nc, "x") // the loop has just served the connection
		ended := make(chan struct{})
		end := func() {
			close(ended)
			runtime.Goexit()
		}
		_, err := c.Loop().AfterFunc(0, end)
		testkit.Must(t, err)
		testkit.Await(t, ended, "the timer")
		ended = make(chan struct{})
		testkit.Must(t, c.Loop().Post(end))
		testkit.Await(t, ended, "the post")
		send(t, nc, "y")
		expect(t, nc, "y")
	}
}

// Each accepted write has its outcome, written or not.
func TestACompletionThatEndsItsGoroutineKeepsNoOtherFromItsCall(t *testing.T) {
	for _, aborted := range []bool{false, true} {
		for _, every := range []int{3, 1} { // every third one, or each of them
			var reported atomic.Int32
			p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
				for i := range 10 {
					testkit.Must(t, c.WriteNotify([]byte("x"), func(error) {
						if reported.Add(1); i%every == 0 {
							runtime.Goexit()
						}
					}))
				}
				if aborted {
					c.Abort()
				}
				return len(p), nil
			}})
			s := start(t, rig{"tcp", false, 1}, &server.Server{CloseTimeout: brief, Handler: p})
			_, nc := p.connect(t, s)
			send(t, nc, "x")
			testkit.Until(t, "ten outcomes", func() bool { return reported.Load() == 10 })
			testkit.Await(t, p.closed, "Close")
			testkit.Must(t, s.Close())
			if n := reported.Load(); n != 10 {
				t.Errorf("%d of 10 outcomes were reported", n)
			}
		}
	}
}

// A loop is chosen for the connection anyway, and its descriptor does not leak. AddConn and Dial, which call PickLoop on their caller's
// goroutine, leave nothing behind.
func TestAPickLoopThatEndsItsGoroutineHasChosenNoLoop(t *testing.T) {
	before := leaktest.Descriptors()
	s := start(t, rig{"tcp", false, 2}, &server.Server{CloseTimeout: brief, Handler: echoLines(), PickLoop: func(net.Addr, int) int {
		runtime.Goexit()
		return 0
	}})
	for range 3 {
		nc := s.dial(t)
		testkit.Must(t, pipelined(nc, "hello", 1))
		hangUp(nc)
	}
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	for _, come := range []func(){
		func() {
			nc, err := net.Dial("tcp", peer.Addr().String())
			if err == nil {
				defer nc.Close()
				_, _ = s.AddConn(nc, nil)
			}
		},
		func() { _, _ = s.Dial(context.Background(), "tcp", peer.Addr().String(), nil) },
	} {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			come()
		}()
		testkit.Await(t, ended, "the end of the caller's goroutine")
	}
	testkit.Must(t, peer.Close())
	s.shutdown(t)
	if st := s.Stats(); st.OpenConns != 0 || st.Opened != st.Closed {
		t.Errorf("%+v", st)
	}
	if left := leaktest.Opened(before); len(left) > 0 {
		t.Errorf("left open: %q; before: %v", left, before)
	}
}

// OnReject is a callback like any other.
func TestARejectedConnectionThatEndsItsGoroutineIsCounted(t *testing.T) {
	rejected := make(chan error, 1)
	s := start(t, rig{"tcp", true, 1}, &server.Server{CloseTimeout: brief, Handler: echoLines(), OnReject: func(_ *server.Conn, reason error) {
		rejected <- reason
		runtime.Goexit()
	}})
	for range 3 {
		nc := s.dialPlain(t)
		_, _ = nc.Write([]byte(strings.Repeat("no TLS ", 100)))
		if err := testkit.Await(t, rejected, "OnReject"); !errors.Is(err, server.ErrHandshake) {
			t.Error(err)
		}
	}
	otherClient(t, s)()
	s.shutdown(t)
}

// Close waits until the goroutine of the handler has ended, and counts the handler as one that has returned.
func TestAHandlerThatCallsGoexitDuringShutdownHasReturned(t *testing.T) {
	d := server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
		<-w.Context().Done()
		runtime.Goexit()
	})
	s := start(t, rig{"tcp", false, 1}, &server.Server{CloseTimeout: brief, Handler: d})
	send(t, s.dial(t), "x\n")
	testkit.Until(t, "the handler", func() bool { return s.Stats().RunningRequests == 1 })
	testkit.Must(t, s.Close())
	testkit.Until(t, "no trace of it", func() bool { st := s.Stats(); return st.RunningRequests == 0 && st.OpenConns == 0 })
}

// When a connection ends, the functions of Detach and StartTLS are both called, and the handler's Close after them, also if the first
// one calls runtime.Goexit.
func TestACallbackThatEndsItsGoroutineKeepsNoStartTLSFromItsEnd(t *testing.T) {
	results := make(chan error, 2)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Socket: tight(), MaxOutput: 16 << 20, Handler: calls{
		data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.Write(make([]byte, 8<<20)) // which the client does not read
			testkit.Must(t, err)
			testkit.Must(t, c.StartTLS(serverTLS(), &server.StartTLSConfig{Done: func(_ *server.Conn, err error) { results <- err }}))
			testkit.Must(t, c.Detach(func(net.Conn, []byte, error) { runtime.Goexit() }))
			c.Abort()
			return len(p), nil
		},
		close: func(*server.Conn, error) { results <- errors.New("Close was called") },
	}})
	send(t, s.dial(t), "x")
	testkit.CheckErr(t, "StartTLS", testkit.Await(t, results, "the end of StartTLS"), server.ErrAborted)
	testkit.Await(t, results, "Close")
	s.shutdown(t)
	s.drained(t)
}
