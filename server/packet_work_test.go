package server_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

func TestDatagramsAreHandledOnWorkers(t *testing.T) {
	const clients = 3
	meet := make(chan struct{})
	s := packetServer(t, &server.Server{NumLoops: 1, Workers: clients})
	pc := s.listenPacket(t, server.DispatchPackets(func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
		select { // each waits for another one, which it could not on the loop
		case meet <- struct{}{}:
		case <-meet:
		case <-pc.Context().Done():
			return
		}
		echoPacket(pc, p, from)
	}))
	a, b := dialPacket(t, pc.LocalAddr().String()), dialPacket(t, pc.LocalAddr().String())
	for range 50 {
		send(t, a, "of a")
		send(t, b, "of b")
		expectPacket(t, a, "of a")
		expectPacket(t, b, "of b")
	}
	s.shutdown(t)
	if st := s.Stats(); st.BufferedBytes != 0 || st.QueuedRequests != 0 || st.RunningRequests != 0 {
		t.Errorf("%+v", st)
	}
}

// busyServer has one worker, which handles a datagram until gate is closed or the server is closed.
func busyServer(t *testing.T, srv *server.Server) (s *running, pc *server.PacketConn, gate chan struct{}) {
	t.Helper()
	srv.Workers = 1
	s = packetServer(t, srv)
	pc = s.listenPacket(t, echoPacket)
	entered := make(chan struct{})
	gate = make(chan struct{})
	testkit.Must(t, pc.Dispatch(func(pc *server.PacketConn, _ []byte, _ netip.AddrPort) {
		close(entered)
		select {
		case <-gate:
		case <-pc.Context().Done():
		}
	}, nil, netip.AddrPort{}))
	testkit.Await(t, entered, "a handler")
	return s, pc, gate
}

// TestDatagramsLeaveHalfOfTheQueue fills the workers' queue, behind a handler that blocks, with datagrams and then with a request.
func TestDatagramsLeaveHalfOfTheQueue(t *testing.T) {
	if hasUserExecutor() {
		t.Skip("datagrams use the server's own pool")
	}
	s, pc, gate := busyServer(t, &server.Server{Queue: 4, Handler: echoLines(), WhenFull: server.FullRefuse, BusyText: "busy\n"})
	handled := make(chan string, 4)
	h := func(_ *server.PacketConn, p []byte, _ netip.AddrPort) { handled <- string(p) }
	buf := []byte("?")
	for i, want := range []error{nil, nil, server.ErrFull, server.ErrFull} {
		buf[0] = byte('a' + i)
		if err := pc.Dispatch(h, buf, netip.AddrPort{}); !errors.Is(err, want) {
			t.Errorf("datagram %d: %v, want %v", i, err, want)
		}
	}
	nc := s.dial(t)
	send(t, nc, "line\n")
	testkit.Until(t, "a request beside the datagrams", func() bool { return s.Stats().QueuedRequests == 3 })
	close(gate)
	expect(t, nc, "line\n")
	for _, want := range []string{"a", "b"} { // the bytes at the time of Dispatch
		if got := testkit.Await(t, handled, "a datagram"); got != want {
			t.Errorf("handled %q, want %q", got, want)
		}
	}
	if st := pc.Stats(); st.Dropped != 2 {
		t.Errorf("%d dropped, want 2", st.Dropped)
	}
}

func TestDispatchedDatagramsCountAsBuffered(t *testing.T) {
	s, pc, gate := busyServer(t, &server.Server{MaxBuffered: 100 << 10})
	accepted := 0
	for {
		err := pc.Dispatch(ignorePacket, make([]byte, 600), netip.AddrPort{})
		if err != nil {
			testkit.CheckErr(t, "above MaxBuffered", err, server.ErrServerFull)
			break
		}
		accepted++
	}
	if n, least := s.Stats().BufferedBytes, int64(accepted)*600; n > 100<<10 || n < least || accepted < 50 {
		t.Errorf("%d bytes are buffered with %d datagrams of 600 bytes", n, accepted)
	}
	close(gate)
	testkit.Until(t, "the end of all handlers", func() bool { return s.Stats().BufferedBytes == 0 })
	if err := pc.Dispatch(nil, nil, netip.AddrPort{}); !errors.Is(err, server.ErrInvalid) {
		t.Errorf("without a handler: %v", err)
	}
}

// A worker has them, or they wait for one. None that comes later is answered.
func TestShutdownLetsDatagramsInProgressBeAnswered(t *testing.T) {
	s, pc, gate := busyServer(t, &server.Server{})
	nc := dialPacket(t, pc.LocalAddr().String())
	testkit.Must(t, pc.Dispatch(echoPacket, []byte("waits"), local(nc)))
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		down <- s.Shutdown(ctx)
	}()
	testkit.Until(t, "a refusal", func() bool { return errors.Is(pc.Dispatch(ignorePacket, nil, netip.AddrPort{}), server.ErrClosed) })
	send(t, nc, "late") // which is not answered
	close(gate)
	expectPacket(t, nc, "waits")
	if err := testkit.Await(t, down, "Shutdown"); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if st := pc.Stats(); st.Received != 0 || st.Sent != 1 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}

// The datagrams are counted, and the Context of the running handler ends.
func TestCloseDropsDatagramsThatWait(t *testing.T) {
	s, pc, _ := busyServer(t, &server.Server{})
	for range 2 {
		testkit.Must(t, pc.Dispatch(func(*server.PacketConn, []byte, netip.AddrPort) { t.Error("handled") }, []byte("waits"), netip.AddrPort{}))
	}
	err := s.Close()
	if late := (*server.ShutdownError)(nil); err != nil && !errors.As(err, &late) { // the handler may not have returned yet
		t.Errorf("Close: %v", err)
	}
	testkit.Until(t, "the dropping", func() bool { return pc.Stats().Dropped == 2 && s.Stats().BufferedBytes == 0 })
}

func TestABlockedHandlerOfADatagramIsReportedByShutdown(t *testing.T) {
	t.Parallel()
	s := packetServer(t, &server.Server{Workers: 2})
	pc := s.listenPacket(t, ignorePacket)
	entered, gate, wrote := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	testkit.Must(t, pc.Dispatch(func(pc *server.PacketConn, _ []byte, from netip.AddrPort) {
		close(entered)
		<-gate
		_, err := pc.WriteTo([]byte("x"), from)
		wrote <- err
	}, nil, netip.MustParseAddrPort("127.0.0.1:9")))
	testkit.Await(t, entered, "a handler")
	ctx, cancel := context.WithCancel(context.Background())
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(ctx) }()
	testkit.Until(t, "a refusal", func() bool { return errors.Is(pc.Dispatch(ignorePacket, nil, netip.AddrPort{}), server.ErrClosed) })
	cancel()
	err := testkit.Await(t, down, "Shutdown")
	if late := (*server.ShutdownError)(nil); !errors.As(err, &late) || late.Handlers != 1 || late.Conns != 0 {
		t.Errorf("Shutdown: %v; want one handler that still runs", err)
	}
	close(gate)
	if err := testkit.Await(t, wrote, "the handler's answer"); !errors.Is(err, server.ErrClosed) {
		t.Errorf("WriteTo after Shutdown: %v", err)
	}
}

// The first ones may allocate.
func TestDispatchingADatagramDoesNotAllocate(t *testing.T) {
	s := packetServer(t, &server.Server{})
	pc := s.listenPacket(t, server.DispatchPackets(echoPacket))
	nc := dialPacket(t, pc.LocalAddr().String())
	p := make([]byte, 64)
	if n := testing.AllocsPerRun(500, func() {
		if _, err := nc.Write(p); err != nil {
			t.Fatal(err)
		}
		if n, err := nc.Read(p); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a datagram and its answer", n)
	}
}
