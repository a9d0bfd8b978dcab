package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// programLoops makes n loops that goroutines of the test run, and closes them when it ends.
func programLoops(t *testing.T, n int, driver event.Driver) []*event.Loop {
	t.Helper()
	var loops []*event.Loop
	var running sync.WaitGroup
	for range n {
		l, err := event.NewLoop(&event.Config{Driver: driver})
		if errors.Is(err, event.ErrUnsupported) {
			t.Skipf("driver %v: %v", driver, err)
		}
		testkit.Must(t, err)
		loops = append(loops, l)
		running.Go(func() {
			if err := l.RunForever(context.Background()); err != nil && !errors.Is(err, event.ErrClosed) {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		for _, l := range loops {
			testkit.Must(t, l.Close())
		}
		running.Wait()
	})
	return loops
}

// eachOwnership runs a test with a server that runs its loops, and with one on loops of the program, with each driver. The test gets a
// function that makes servers on the loops.
func eachOwnership(t *testing.T, n int, test func(t *testing.T, newServer func(h server.Handler) *server.Server)) {
	t.Run("own loops", func(t *testing.T) {
		test(t, func(h server.Handler) *server.Server { return &server.Server{Handler: h, NumLoops: n} })
	})
	for name, driver := range map[string]event.Driver{"adaptive": event.DriverAdaptive, "park": event.DriverPark, "thread": event.DriverThread} {
		t.Run("loops of the program, "+name, func(t *testing.T) {
			loops := programLoops(t, n, driver)
			test(t, func(h server.Handler) *server.Server { return &server.Server{Handler: h, UseLoops: loops} })
			for _, l := range loops {
				checkUsable(t, l)
			}
		})
	}
}

// checkUsable fails the test unless the loop runs and has no event.
func checkUsable(t *testing.T, l *event.Loop) {
	t.Helper()
	called := make(chan int)
	testkit.Must(t, l.Post(func() { called <- len(l.Events()) }))
	if n := testkit.Await(t, called, "a post on a loop that the server has left"); n != 0 {
		t.Errorf("the server has left %d events on a loop", n)
	}
}

// A server serves connections and datagrams in the same way on its own loops and on those of the program, and its end leaves nothing.
func TestServersServeOnAnyLoops(t *testing.T) {
	eachOwnership(t, 2, func(t *testing.T, newServer func(server.Handler) *server.Server) {
		p := newProbe(calls{data: echo})
		s := start(t, rig{"tcp", false, 0}, newServer(p))
		var clients []net.Conn
		for range 10 {
			c, nc := p.connect(t, s)
			if !slices.Contains(s.Loops(), c.Loop()) {
				t.Error("a connection is on a loop that Loops does not return")
			}
			clients = append(clients, nc)
		}
		for _, nc := range clients {
			send(t, nc, "echo")
			expect(t, nc, "echo")
		}
		lines, err := s.Listen(t.Context(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: echoLines()})
		testkit.Must(t, err)
		nc, err := net.Dial("tcp", lines.Addr().String())
		testkit.Must(t, err)
		defer nc.Close()
		send(t, nc, "line\n")
		expect(t, nc, "line\n")

		pc, err := s.ListenPacket(t.Context(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: server.DispatchPackets(
			func(pc *server.PacketConn, p []byte, from netip.AddrPort) { _, _ = pc.WriteTo(p, from) })})
		testkit.Must(t, err)
		udp, err := net.Dial("udp", pc.LocalAddr().String())
		testkit.Must(t, err)
		defer udp.Close()
		testkit.Must(t, udp.SetDeadline(time.Now().Add(testkit.Patience)))
		send(t, udp, "datagram")
		expect(t, udp, "datagram")

		h := newProbe(calls{})
		_, err = s.Dial(t.Context(), "tcp", s.addr.String(), &server.DialConfig{Handler: h})
		testkit.Must(t, err)
		testkit.Await(t, h.opened, "Open of the dialled connection")
		s.shutdown(t)
		testkit.Await(t, h.closed, "Close of the dialled connection")
		for range clients {
			testkit.Await(t, p.closed, "Close")
		}
	})
}

// Close ends a server on any loops at once, with connections in every state.
func TestCloseLeavesNothingOnAnyLoops(t *testing.T) {
	eachOwnership(t, 2, func(t *testing.T, newServer func(server.Handler) *server.Server) {
		srv := newServer(server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) { <-w.Context().Done() }))
		s := start(t, rig{"tcp", false, 0}, srv)
		for range 5 {
			nc := s.dial(t)
			send(t, nc, "request\n")
			s.dial(t)
		}
		half, err := s.Listen(t.Context(), "tcp", "127.0.0.1:0", &server.ListenerConfig{TLS: serverTLS()})
		testkit.Must(t, err)
		nc, err := net.Dial("tcp", half.Addr().String())
		testkit.Must(t, err)
		defer nc.Close()
		send(t, nc, "\x16\x03")
		testkit.Until(t, "requests in progress", func() bool { return s.Stats().RunningRequests == 5 && s.Stats().OpenConns == 11 })
		testkit.Must(t, s.Close())
		if n := s.Stats().OpenConns; n != 0 {
			t.Errorf("%d connections are open after Close", n)
		}
	})
}

// Several servers share the loops of the program, and the end of one has no effect on the others.
func TestServersShareLoops(t *testing.T) {
	loops := programLoops(t, 2, event.DriverDefault)
	var servers []*running
	for range 3 {
		servers = append(servers, start(t, rig{"tcp", false, 0}, &server.Server{Handler: calls{data: echo}, UseLoops: loops}))
	}
	clients := map[*running]net.Conn{}
	for _, s := range servers {
		clients[s] = s.dial(t)
	}
	for len(servers) > 0 {
		for _, s := range servers {
			send(t, clients[s], "x")
			expect(t, clients[s], "x")
		}
		servers[0].shutdown(t)
		expectEOF(t, clients[servers[0]])
		servers = servers[1:]
	}
	for _, l := range loops {
		checkUsable(t, l)
	}
}

// It would wait for that loop.
func TestShutdownOnALoopOfTheProgramIsRefused(t *testing.T) {
	loops := programLoops(t, 1, event.DriverDefault)
	s := start(t, rig{"tcp", false, 0}, &server.Server{Handler: calls{}, UseLoops: loops})
	errs := make(chan error, 2)
	testkit.Must(t, loops[0].Post(func() { errs <- s.Shutdown(context.Background()); errs <- s.Close() }))
	for range 2 {
		testkit.CheckErr(t, "on the loop", testkit.Await(t, errs, "the answer"), event.ErrOnLoop)
	}
	s.shutdown(t)
}

// A loop that the program closes ends its connections, listeners and sockets with ErrLoopClosed; the server continues with the others.
func TestALoopThatTheProgramClosesEndsItsConnections(t *testing.T) {
	loops := programLoops(t, 2, event.DriverDefault)
	var onFirst []*server.Conn
	p := newProbe(calls{data: echo})
	s := start(t, rig{"tcp", false, 0}, &server.Server{Handler: p, UseLoops: loops, PacketHandler: func(*server.PacketConn, []byte, netip.AddrPort) {}})
	kept := map[*server.Conn]net.Conn{}
	for range 6 {
		c, nc := p.connect(t, s)
		if c.Loop() == loops[0] {
			onFirst = append(onFirst, c)
		} else {
			kept[c] = nc
		}
	}
	ln := s.Listeners()[0]
	sockets := make([]*server.PacketConn, 2)
	for i := range sockets {
		var err error
		sockets[i], err = s.ListenPacket(t.Context(), "udp", "127.0.0.1:0", nil)
		testkit.Must(t, err)
	}
	testkit.Must(t, loops[0].Close())
	for range onFirst {
		if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, server.ErrLoopClosed) || !errors.Is(reason, net.ErrClosed) {
			t.Errorf("the reason is %v", reason)
		}
	}
	if n := s.Stats().Ended[server.EndedByLoop]; n != uint64(len(onFirst)) {
		t.Errorf("%d of %d connections are counted as ended by their loop", n, len(onFirst))
	}
	testkit.CheckErr(t, "Wait", ln.Wait(), server.ErrLoopClosed)
	ended := 0
	for _, pc := range sockets {
		if cause := context.Cause(pc.Context()); errors.Is(cause, server.ErrLoopClosed) {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("%d of 2 sockets ended with their loop", ended)
	}
	for _, nc := range kept {
		testkit.Must(t, pipelined(nc, "x", 1))
	}
	again, err := s.Listen(t.Context(), "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	for range 4 { // all on the other loop
		nc, err := net.Dial("tcp", again.Addr().String())
		testkit.Must(t, err)
		defer nc.Close()
		if c := testkit.Await(t, p.opened, "Open"); c.Loop() != loops[1] {
			t.Error("a connection was given to the closed loop")
		}
	}
	testkit.Must(t, loops[1].Close())
	_, err = s.Listen(t.Context(), "tcp", "127.0.0.1:0", nil)
	testkit.CheckErr(t, "Listen without a loop", err, server.ErrLoopClosed)
	_, err = s.Dial(t.Context(), "tcp", "127.0.0.1:1", nil)
	testkit.CheckErr(t, "Dial without a loop", err, server.ErrLoopClosed)
	s.shutdown(t)
}

// ending is a handler that reports the end of a connection to the test.
type ending struct {
	closed chan error
	server.Handler
}

func (h ending) Unwrap() server.Handler { return h.Handler }

func (h ending) Close(c *server.Conn, reason error) {
	h.Handler.Close(c, reason)
	h.closed <- reason
}

// A request that is in progress when the program closes the loop ends, and then its connection.
func TestARequestOutlivesItsLoop(t *testing.T) {
	loops := programLoops(t, 1, event.DriverDefault)
	began, release := make(chan struct{}), make(chan struct{})
	h := ending{make(chan error, 1), server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
		close(began)
		<-release
		if _, err := io.WriteString(w, "late"); err != nil {
			testkit.CheckErr(t, "Write", err, server.ErrClosed)
		}
	})}
	s := start(t, rig{"tcp", false, 0}, &server.Server{Handler: h, UseLoops: loops})
	nc := s.dial(t)
	send(t, nc, "request\n")
	testkit.Await(t, began, "the request")
	testkit.Must(t, loops[0].Close())
	_, _ = io.ReadAll(nc) // until the end, or a reset
	if n := s.Stats().OpenConns; n != 1 {
		t.Errorf("%d connections are counted while the request is in progress, want 1", n)
	}
	close(release)
	if reason := testkit.Await(t, h.closed, "Close"); !errors.Is(reason, server.ErrLoopClosed) {
		t.Errorf("the reason is %v", reason)
	}
	s.shutdown(t)
	if st := s.Stats(); st.OpenConns != 0 || st.BufferedBytes != 0 {
		t.Errorf("%d connections and %d bytes are left", st.OpenConns, st.BufferedBytes)
	}
}

// A loop that does not run holds a Shutdown up until its context ends. When the loop runs again, or is closed, the server's connections and
// events are removed.
func TestShutdownWaitsForALoopThatDoesNotRunUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	for name, goOn := range map[string]func(l *event.Loop) error{
		"runs again": func(l *event.Loop) error { return l.Run(context.Background()) },
		"is closed":  func(l *event.Loop) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := event.NewLoop(nil)
			testkit.Must(t, err)
			srv := &server.Server{Handler: calls{}, UseLoops: []*event.Loop{l}, Logger: slog.New(slog.DiscardHandler)}
			_, err = srv.Listen(t.Context(), "tcp", "127.0.0.1:0", nil)
			testkit.Must(t, err)
			err = srv.Shutdown(endedContext(context.Canceled))
			var late *server.ShutdownError
			if !errors.As(err, &late) || late.Loops != 1 {
				t.Errorf("Shutdown: %v", err)
			}
			testkit.Must(t, goOn(l)) // Run returns, since the server leaves no event
			testkit.Must(t, l.Close())
		})
	}
}

// Loops and Loop return nothing before Start, and all loops afterwards.
func TestLoopsExistAfterStart(t *testing.T) {
	s := &server.Server{Handler: calls{}, NumLoops: 2}
	if s.Loops() != nil || s.Loop(0) != nil {
		t.Error("there are loops before Start")
	}
	testkit.Must(t, s.Start())
	defer s.Close()
	loops := s.Loops()
	if len(loops) != 2 || s.Loop(0) != loops[0] || s.Loop(1) != loops[1] || s.Loop(2) != nil || s.Loop(-1) != nil {
		t.Errorf("the loops are %v", loops)
	}
	for _, l := range loops {
		testkit.CheckErr(t, "Close of a loop", l.Close(), event.ErrOwned)
	}
}

// Invalid UseLoops are ErrInvalid, which names the field, and a closed loop is ErrLoopClosed. Nothing is left on the others.
func TestUseLoopsIsChecked(t *testing.T) {
	loops := programLoops(t, 1, event.DriverDefault)
	closed, err := event.NewLoop(nil)
	testkit.Must(t, err)
	testkit.Must(t, closed.Close())
	for name, row := range map[string]struct {
		srv  *server.Server
		want error
	}{
		"nil":        {&server.Server{UseLoops: []*event.Loop{loops[0], nil}}, server.ErrInvalid},
		"twice":      {&server.Server{UseLoops: []*event.Loop{loops[0], loops[0]}}, server.ErrInvalid},
		"NumLoops":   {&server.Server{UseLoops: loops, NumLoops: 2}, server.ErrInvalid},
		"LoopConfig": {&server.Server{UseLoops: loops, LoopConfig: &event.Config{}}, server.ErrInvalid},
		"closed":     {&server.Server{UseLoops: []*event.Loop{loops[0], closed}}, server.ErrLoopClosed},
	} {
		t.Run(name, func(t *testing.T) {
			row.srv.Handler = calls{}
			testkit.CheckErr(t, "Start", row.srv.Start(), row.want)
			checkUsable(t, loops[0])
		})
	}
}
