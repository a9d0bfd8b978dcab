package server_test

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Dial and AddConn do not call PickLoop if Near is set.
func TestNearChoosesTheLoopInPlaceOfPickLoop(t *testing.T) {
	p := newProbe(calls{})
	var mu sync.Mutex
	picks, loop := 0, 0
	s := start(t, rig{"tcp", false, 3}, &server.Server{Handler: p, PickLoop: func(net.Addr, int) int {
		mu.Lock()
		defer mu.Unlock()
		picks++
		return loop
	}})
	for i := range 3 {
		mu.Lock()
		loop = i
		mu.Unlock()
		near, _ := p.connect(t, s)
		mu.Lock()
		before := picks
		mu.Unlock()
		ours, _ := pair(t)
		added, err := s.AddConn(ours, &server.ConnConfig{Near: near})
		testkit.Must(t, err)
		dialled, err := s.Dial(context.Background(), s.addr.Network(), s.addr.String(), &server.DialConfig{Near: near})
		testkit.Must(t, err)
		for range 3 { // the accepted end of the dialled connection, too
			testkit.Await(t, p.opened, "Open")
		}
		if added.Loop() != near.Loop() || dialled.Loop() != near.Loop() {
			t.Error("a connection is not on the loop of Near")
		}
		mu.Lock()
		if picks != before+1 { // for the accepted end
			t.Errorf("PickLoop was called %d times, want once", picks-before)
		}
		mu.Unlock()
	}
}

// Dial and AddConn return ErrServerClosed when PickLoop returns after the end of Shutdown's context, and the connection is not accepted.
func TestConnectionsThatAPickLoopDelaysPastTheShutdownAreRefused(t *testing.T) {
	before := leaktest.Descriptors()
	called, gate := make(chan struct{}, 10), make(chan struct{})
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 2}, &server.Server{Handler: p, PickLoop: func(net.Addr, int) int {
		called <- struct{}{}
		<-gate
		return 0
	}})
	ours, theirs := pair(t)
	ways := map[string]func() error{
		"AddConn":           func() error { _, err := s.AddConn(ours, nil); return err },
		"Dial":              func() error { _, err := s.Dial(context.Background(), "tcp", "127.0.0.1:1", nil); return err },
		"Dial with a name":  func() error { _, err := s.Dial(context.Background(), "tcp", "localhost:1", nil); return err },
		"Dial, unix socket": func() error { _, err := s.Dial(context.Background(), "unix", "/nothing/here", nil); return err },
	}
	outcomes := map[string]chan error{}
	for name, come := range ways {
		outcome := make(chan error, 1)
		outcomes[name] = outcome
		go func() { outcome <- come() }()
		testkit.Await(t, called, "PickLoop")
	}
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	_ = s.Shutdown(ctx) // whose error says that its context has ended
	close(gate)
	for name, outcome := range outcomes {
		testkit.CheckErr(t, name, testkit.Await(t, outcome, name), server.ErrServerClosed)
	}
	send(t, ours, "still the caller's")
	expect(t, theirs, "still the caller's")
	hangUp(ours, theirs)
	testkit.Until(t, "the release of every descriptor", func() bool { return len(leaktest.Opened(before)) == 0 })
	if st := s.Stats(); st.OpenConns != 0 || len(p.closed) > 0 {
		t.Errorf("Close was called %d times, %+v", len(p.closed), st)
	}
}

// gatedConn is a connection whose Close waits.
type gatedConn struct {
	*net.TCPConn
	called, gate chan struct{}
}

func (c gatedConn) Close() error {
	close(c.called)
	<-c.gate
	return c.TCPConn.Close()
}

// The connection belongs to the server before the caller's descriptor is closed.
func TestAnAddedConnectionWhoseCloseWaitsEndsWithTheServer(t *testing.T) {
	before := leaktest.Descriptors()
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	ours, theirs := pair(t)
	gated := gatedConn{ours.(*net.TCPConn), make(chan struct{}), make(chan struct{})}
	added := make(chan error, 1)
	go func() {
		_, err := s.AddConn(gated, nil)
		added <- err
	}()
	testkit.Await(t, gated.called, "Close of the added connection")
	testkit.Await(t, p.opened, "Open")
	testkit.Must(t, s.Close())
	testkit.CheckErr(t, "Close", testkit.Await(t, p.closed, "Close"), server.ErrServerClosed)
	close(gated.gate)
	testkit.Must(t, testkit.Await(t, added, "the end of AddConn"))
	expectEOF(t, theirs)
	hangUp(theirs)
	testkit.Until(t, "the release of every descriptor", func() bool { return len(leaktest.Opened(before)) == 0 })
	if st := s.Stats(); st.OpenConns != 0 || st.Opened != st.Closed {
		t.Errorf("%+v", st)
	}
}
