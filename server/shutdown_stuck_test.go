package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// fillPosts posts more to a loop than it carries out, from two goroutines, until stop is called.
func fillPosts(t *testing.T, l *event.Loop, post func()) (stop func()) {
	t.Helper()
	end, full := make(chan struct{}), make(chan struct{}, 2)
	var posters sync.WaitGroup
	for range 2 {
		posters.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				switch err := l.Post(post); {
				case errors.Is(err, event.ErrFull):
					offer(full, struct{}{})
					time.Sleep(10 * time.Microsecond) // the loop needs a processor, too
				case err != nil:
					return
				}
			}
		})
	}
	testkit.Await(t, full, "the posts at their limit")
	return sync.OnceFunc(func() {
		close(end)
		posters.Wait()
	})
}

// Users that post more than the loops do, with the limit of posts reached, delay neither a Shutdown nor a Close beyond its own limits,
// and Close is called for every connection.
func TestShutdownNeedsNoRoomAmongThePosts(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 100, 5000} {
		for _, gently := range []bool{true, false} {
			t.Run(fmt.Sprintf("limit %d, gently %v", limit, gently), func(t *testing.T) {
				t.Parallel()
				shutDownAmongPosts(t, limit, gently)
			})
		}
	}
}

func shutDownAmongPosts(t *testing.T, limit int, gently bool) {
	t.Helper()
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 2}, &server.Server{Handler: p, CloseTimeout: brief, LoopConfig: &event.Config{PostLimit: limit}})
	c, _ := p.connect(t, s)
	stop := fillPosts(t, c.Loop(), func() { time.Sleep(time.Microsecond) })
	defer stop()
	ended := make(chan error, 1)
	go func() {
		enough := testkit.Patience / 2
		if limit == 5000 {
			enough = brief
		}
		ctx, cancel := context.WithTimeout(context.Background(), enough)
		defer cancel()
		if gently {
			ended <- s.Shutdown(ctx)
		} else {
			ended <- s.Close()
		}
	}()
	// With the largest limit the posts that were accepted take longer than the time that is left.
	if err := testkit.Await(t, ended, "the end of the server"); err != nil && limit != 5000 {
		t.Error(err)
	}
	testkit.Await(t, p.closed, "Close")
	stop()
	testkit.Await(t, c.Loop().Done(), "the loop's end")
}

// waysToShutDown has the ways to end a server that end its connections at once or soon.
var waysToShutDown = map[string]func(*server.Server) error{
	"Shutdown": func(s *server.Server) error {
		ctx, cancel := context.WithTimeout(context.Background(), brief)
		defer cancel()
		return s.Shutdown(ctx)
	},
	"Close": (*server.Server).Close,
	"Close beside a Shutdown": func(s *server.Server) error {
		begun := make(chan struct{})
		go func() {
			close(begun)
			_ = s.Shutdown(context.Background())
		}()
		<-begun
		return s.Close()
	},
}

// It returns the error of its context and the number of loops that it has not waited for. The connections of the other loops end, and
// those of this loop when the callback returns.
func TestShutdownReturnsBesideACallbackThatDoesNot(t *testing.T) {
	t.Parallel()
	for name, end := range waysToShutDown {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gate, stuck := make(chan struct{}), make(chan struct{})
			open := sync.OnceFunc(func() { close(gate) })
			defer open()
			p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
				if string(p) == "block" {
					close(stuck)
					<-gate
				}
				return len(p), nil
			}})
			s := start(t, rig{"tcp", false, 2}, &server.Server{Handler: p, Balance: server.BalanceRoundRobin})
			var clients []net.Conn
			var loops []*event.Loop
			for range 4 {
				c, nc := p.connect(t, s)
				loops, clients = append(loops, c.Loop()), append(clients, nc)
			}
			send(t, clients[0], "block")
			testkit.Await(t, stuck, "the callback")
			ended := make(chan error, 1)
			go func() { ended <- end(s.Server) }()
			var late *server.ShutdownError
			if err := testkit.Await(t, ended, name); !errors.As(err, &late) || late.Loops != 1 {
				t.Fatalf("%s: %v; want a ShutdownError with one loop", name, err)
			}
			for range 2 { // of the other loop
				testkit.Await(t, p.closed, "Close")
			}
			testkit.Must(t, s.Close())
			if err := s.Shutdown(context.Background()); !errors.As(err, &late) || late.Loops != 1 {
				t.Errorf("a further Shutdown: %v; want the outcome of the first", err)
			}
			open()
			for range 2 {
				testkit.Await(t, p.closed, "Close")
			}
			for _, nc := range clients {
				_, _ = io.Copy(io.Discard, nc)
				_ = nc.Close()
			}
			for _, l := range loops {
				testkit.Await(t, l.Done(), "the loop's end")
			}
			if st := s.Stats(); st.OpenConns != 0 || st.Opened != st.Closed {
				t.Errorf("%+v", st)
			}
		})
	}
}

// gatedListener is a listener without a descriptor whose Close waits.
type gatedListener struct {
	net.Listener
	gate chan struct{}
}

func (l gatedListener) Accept() (net.Conn, error) { <-l.gate; return nil, net.ErrClosed }
func (l gatedListener) Close() error              { <-l.gate; return nil }
func (l gatedListener) Addr() net.Addr            { return &net.TCPAddr{} }

// The Close of a user's listener does not return.
func TestShutdownReturnsBesideAListenerThatDoesNot(t *testing.T) {
	t.Parallel()
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	l := gatedListener{gate: make(chan struct{})}
	_, err := s.AddListener(l, nil)
	testkit.Must(t, err)
	p.connect(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	var late *server.ShutdownError
	if err := testkit.Await(t, ended, "Shutdown"); !errors.As(err, &late) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	testkit.Await(t, p.closed, "Close") // of the connection, whatever the listener does
	close(l.gate)
}

// Exit, Break, Close and Run of Conn.Loop are refused, and the server continues and shuts down in order.
func TestAServersLoopsAreEndedByTheServerAlone(t *testing.T) {
	p := newProbe(calls{data: echo})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, CloseTimeout: brief})
	c, nc := p.connect(t, s)
	l := c.Loop()
	refused := func() {
		for name, err := range map[string]error{"Exit": l.Exit(0), "Break": l.Break(), "Close": l.Close(), "RunNonblock": l.RunNonblock()} {
			if !errors.Is(err, event.ErrOwned) {
				t.Errorf("%s: %v, want event.ErrOwned", name, err)
			}
		}
	}
	refused()
	onLoop(t, c, refused)
	send(t, nc, "hello")
	expect(t, nc, "hello")
	s.shutdown(t)
	refused()
}

// A worker that waits for room in the output returns although a callback blocks its loop.
func TestAReplyThatWaitsForABlockedLoopEndsWithTheServer(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	failed := make(chan error, 1)
	d := echoLines()
	d.Serve = func(w server.Reply, _ []byte) {
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, 64<<10))
		}
		failed <- err
	}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d, MaxOutput: 64 << 10, Socket: tight()})
	send(t, s.dial(t), "much\n")
	var c *server.Conn
	testkit.Until(t, "a full output", func() bool {
		for c = range s.Conns() {
			return c.Stats().BufferedBytes >= 64<<10
		}
		return false
	})
	testkit.Must(t, c.Loop().Post(func() { <-gate }))
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	if err := testkit.Await(t, failed, "the end of the worker's wait"); !errors.Is(err, server.ErrClosed) {
		t.Errorf("Write: %v", err)
	}
	testkit.Await(t, ended, "Shutdown")
	open()
}

// A callback does not return, and the clock of the loops stands still. The server waits for two seconds of the system's clock, and returns.
func TestTheEndOfAServerNeedsNoTimeOfTheLoopsClock(t *testing.T) {
	t.Parallel()
	for name, end := range waysToShutDown {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachClock(t, func(t *testing.T, _ *testkit.Clock, start func(*server.Server) *running) {
				t.Parallel()
				gate, stuck := make(chan struct{}), make(chan struct{})
				open := sync.OnceFunc(func() { close(gate) })
				defer open()
				p := newProbe(calls{data: func(_ *server.Conn, p []byte) (int, error) {
					close(stuck)
					<-gate
					return len(p), nil
				}})
				s := start(&server.Server{Handler: p})
				c, nc := p.connect(t, s)
				send(t, nc, "block")
				testkit.Await(t, stuck, "the callback")
				ended, began := make(chan error, 1), time.Now()
				go func() { ended <- end(s.Server) }()
				var late *server.ShutdownError
				if err := testkit.Await(t, ended, name); !errors.As(err, &late) || late.Loops != 1 {
					t.Errorf("%s: %v, want a ShutdownError with one loop", name, err)
				}
				if waited := time.Since(began); waited < 2*time.Second {
					t.Errorf("%s waited for %v, want 2s at least", name, waited)
				}
				open()
				testkit.Await(t, p.closed, "Close")
				if s.UseLoops == nil {
					testkit.Await(t, c.Loop().Done(), "the loop's end")
				}
			})
		})
	}
}

// Requests do not return, on a loop or on a worker, and the clock of the loops stands still.
func TestTheEndOfAServerNeedsNoTimeOfTheLoopsClockForRequests(t *testing.T) {
	t.Parallel()
	for _, placement := range []server.Placement{server.OnLoop, server.OnWorkers, server.Adaptive} {
		t.Run(placement.String(), func(t *testing.T) {
			t.Parallel()
			eachClock(t, func(t *testing.T, _ *testkit.Clock, start func(*server.Server) *running) {
				t.Parallel()
				gate, stuck := make(chan struct{}), make(chan struct{})
				open := sync.OnceFunc(func() { close(gate) })
				defer open()
				s := start(&server.Server{Handler: placed(placement, func(server.Reply, string) string {
					close(stuck)
					<-gate
					return ""
				})})
				send(t, s.dial(t), "block\n")
				testkit.Await(t, stuck, "the request")
				ended := make(chan error, 1)
				go func() { ended <- s.Close() }()
				var late *server.ShutdownError
				if err := testkit.Await(t, ended, "Close"); !errors.As(err, &late) || late.Handlers+late.Loops == 0 {
					t.Errorf("Close: %v, want a ShutdownError with the handler or its loop", err)
				}
			})
		})
	}
}
