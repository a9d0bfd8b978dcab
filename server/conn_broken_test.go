package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// The connection may be paused, half open, or have a request that waits for its Context.
func TestAResetAfterThePeersEndEndsTheConnection(t *testing.T) {
	ends := make(chan error, 10)
	waits := func(concurrent int) server.Handler {
		return &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Serve: func(w server.Reply, _ []byte) {
			<-w.Context().Done()
			ends <- w.Context().Err()
		}}
	}
	closing := calls{close: func(_ *server.Conn, reason error) { ends <- reason }}
	paused := closing
	paused.open = func(c *server.Conn) { c.PauseRead(nil) }
	for name, h := range map[string]server.Handler{
		"paused":             paused,
		"half open":          eofProbe{&probe{closing, make(chan *server.Conn, 1), make(chan error, 1)}, func(*server.Conn) {}},
		"a request":          waits(1),
		"concurrent request": waits(4),
	} {
		t.Run(name, func(t *testing.T) {
			for len(ends) > 0 { // ends of the case before, from the end of its server
				<-ends
			}
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h})
			nc := s.dial(t)
			send(t, nc, "wait\n")
			testkit.Until(t, "the connection", func() bool { return s.Stats().Opened == 1 })
			closeWrite(t, nc)
			for c := range s.Conns() {
				for range 10 { // turns, in which the end is seen
					onLoop(t, c, func() {})
				}
			}
			reset(t, nc)
			testkit.Await(t, ends, "the end")
		})
	}
}

// A client that sends much and closes loses no input that has reached this machine, although it does not read the answers; on the loop,
// on workers, and with several requests at a time.
func TestInputThatHasArrivedIsReadAlsoWhenAWriteFails(t *testing.T) {
	const size = 150_000 // several reads
	var got atomic.Int64
	serve := func(w server.Reply, p []byte) {
		got.Add(int64(len(p)) + 1)
		_, _ = w.WriteString("ok\n")
	}
	lines := func(p *probe, concurrent int) server.Handler {
		return &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Opened: p.Open, Closed: p.Close, Serve: serve}
	}
	p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
		got.Add(int64(len(p)))
		_, _ = c.WriteString("ok\n")
		return len(p), nil
	}})
	for name, h := range map[string]server.Handler{
		"loop": p, "half open": eofProbe{p, func(*server.Conn) {}}, "workers": lines(p, 1), "concurrent": lines(p, 4),
	} {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(name+" "+network, func(t *testing.T) {
				got.Store(0)
				s := start(t, rig{network, false, 1}, &server.Server{Handler: h, Socket: server.SocketOptions{ReadBuffer: 200_000}})
				c, nc := p.connect(t, s)
				send(t, nc, "x\n")
				expect(t, nc, "o") // and the rest of the answer is not read
				testkit.Until(t, "the answer", func() bool { return c.Stats().BytesWritten == 3 })
				held, release := make(chan struct{}), make(chan struct{})
				testkit.Must(t, c.Loop().Post(func() { close(held); <-release }))
				<-held
				send(t, nc, strings.Repeat(strings.Repeat("x", 99)+"\n", size/100))
				buf := make([]byte, size+1)
				testkit.Until(t, "all input", func() bool {
					n, _, err := unix.Recvfrom(c.FD(), buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
					return err == nil && n == size
				})
				testkit.Must(t, nc.Close()) // with unread input: a reset
				close(release)
				if reason := testkit.Await(t, p.closed, "Close"); !isGone(reason) {
					t.Errorf("Close was called with %v", reason)
				}
				if got.Load() != size+2 {
					t.Errorf("%d of %d bytes came to the handler", got.Load(), size+2)
				}
			})
		}
	}
}

// While input that has arrived is still handled, writes and replies fail with ErrClosed and the reason, Context has ended, and the
// completions of accepted output report that it failed.
func TestABrokenConnectionRefusesOutput(t *testing.T) {
	started, release := make(chan server.Reply), make(chan struct{})
	results := make(chan error, 4)
	p := newProbe(calls{})
	d := &server.Dispatcher{Framing: framing.Lines{}, Opened: p.Open, Closed: p.Close, Serve: func(w server.Reply, _ []byte) {
		started <- w
		<-release
		_, err := w.Write(make([]byte, 64<<10))
		results <- err
	}}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d, Socket: tight(), CloseTimeout: -1})
	c, nc := p.connect(t, s)
	send(t, nc, "first\nsecond\n")
	testkit.Await(t, started, "the first request")
	requests := s.Stats().BufferedBytes // the memory of the requests
	testkit.Must(t, c.WriteNotify(make([]byte, 8<<20), func(err error) { results <- err }))
	testkit.Until(t, "output that waits", func() bool { return c.Stats().BytesWritten > 0 && c.Stats().BufferedBytes > 0 })
	reset(t, nc)
	testkit.CheckErr(t, "output that waited", testkit.Await(t, results, "its outcome"), server.ErrClosed)
	<-c.Context().Done()
	_, err := c.WriteString("x")
	testkit.CheckErr(t, "a write", err, server.ErrClosed)
	if !isGone(err) {
		t.Errorf("a write: %v, without the reason", err)
	}
	if n := s.Stats().BufferedBytes; n != requests {
		t.Errorf("%d bytes are counted, of which the requests take %d", n, requests)
	}
	release <- struct{}{}
	testkit.CheckErr(t, "a reply", testkit.Await(t, results, "its outcome"), server.ErrClosed)
	testkit.Await(t, started, "the second request, which had arrived")
	close(release)
	testkit.CheckErr(t, "a reply", testkit.Await(t, results, "its outcome"), server.ErrClosed)
	if reason := testkit.Await(t, p.closed, "Close"); !isGone(reason) {
		t.Errorf("Close was called with %v", reason)
	}
	s.shutdown(t)
	s.drained(t)
}

// The loop does not turn after the peer's end, or its reset, while a request is in progress. The end and the close are reported once.
func TestNothingSpinsAfterThePeersEnd(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		for _, concurrent := range []int{1, 4} {
			p := newProbe(calls{})
			release := make(chan struct{})
			d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Opened: p.Open, Closed: p.Close,
				Serve: func(server.Reply, []byte) { <-release }}
			s := start(t, r, &server.Server{Handler: d})
			c, nc := p.connect(t, s)
			_, err := c.WriteString("this is not read")
			testkit.Must(t, err)
			send(t, nc, "work\n")
			testkit.Until(t, "the request", func() bool { return s.Stats().RunningRequests == 1 })
			closeWrite(t, nc)
			isIdle(t, s)
			if len(p.closed) > 0 {
				t.Fatalf("closed at the peer's half-close: %v", <-p.closed)
			}
			reset(t, nc)
			<-c.Context().Done()
			isIdle(t, s)
			close(release)
			if reason := testkit.Await(t, p.closed, "Close"); !isGone(reason) {
				t.Errorf("the reason is %v", reason)
			}
		}
	})
}

// The client sends 8 MB; the server answers without reading them and closes.
func TestAClientThatIsAnsweredEarlySeesTheAnswer(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const answer = "413 too large\n"
		early := map[string]func(c *server.Conn, p []byte) (int, error){
			"closes": func(c *server.Conn, p []byte) (int, error) {
				_, err := c.WriteString(answer)
				c.Close()
				return len(p), err
			},
			"fails": func(c *server.Conn, _ []byte) (int, error) {
				_, err := c.WriteString(answer)
				return 0, errors.Join(err, framing.ErrTooLong)
			},
		}
		for name, data := range early {
			p := newProbe(calls{data: data})
			s, _ := startWithClock(t, r, &server.Server{Handler: p}) // CloseTimeout does not pass, however long the client takes
			_, nc := p.connect(t, s)
			if n, err := nc.Write(make([]byte, 8<<20)); err != nil {
				t.Errorf("%s: the client could send %d bytes: %v", name, n, err)
			}
			expect(t, nc, answer)
			expectEOF(t, nc)
			hangUp(nc)
			if reason := testkit.Await(t, p.closed, "Close"); reason != nil && !errors.Is(reason, framing.ErrTooLong) {
				t.Errorf("%s: the reason is %v", name, reason)
			}
		}
	})
}

// The reset follows after maxLastBytes, whatever CloseTimeout is.
func TestAClientThatSendsWithoutEndIsResetAfterTheClose(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{open: func(c *server.Conn) { c.Close() }})
		s := start(t, r, &server.Server{Handler: p, CloseTimeout: -1})
		nc := s.dial(t)
		piece := make([]byte, 64<<10)
		for sent := 0; ; sent += len(piece) {
			if _, err := nc.Write(piece); err != nil {
				break
			}
			if sent > 256<<20 {
				t.Fatal("256 MB were read from a client that is closed")
			}
		}
		testkit.Await(t, p.closed, "Close")
	})
}

// A server that answers and closes before it has read the request sends a reset behind its answer.
func TestAnEarlyAnswerIsReadBeforeTheResetThatFollowsIt(t *testing.T) {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer peer.Close()
	gate, answered := make(chan struct{}), make(chan struct{})
	go func() {
		nc, err := peer.Accept()
		if err != nil {
			return
		}
		_, _ = io.ReadFull(nc, make([]byte, 1024))
		<-gate // the client's loop is busy: the answer and the reset arrive together
		_, _ = io.WriteString(nc, "413 too large\n")
		_ = nc.Close()
		close(answered)
	}()
	var got strings.Builder
	p := newProbe(calls{data: func(_ *server.Conn, p []byte) (int, error) { return got.Write(p) }})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, MaxOutput: 16 << 20})
	c, err := s.Dial(context.Background(), "tcp", peer.Addr().String(), nil)
	testkit.Must(t, err)
	_, err = c.Write(make([]byte, 8<<20))
	testkit.Must(t, err)
	testkit.Await(t, p.opened, "Open")
	busy := make(chan struct{})
	testkit.Must(t, c.Loop().Post(func() {
		close(busy)
		<-answered
	}))
	<-busy
	close(gate)
	testkit.Await(t, p.closed, "Close")
	if got.String() != "413 too large\n" {
		t.Errorf("the handler was given %q", got.String())
	}
}

// The completion is called once, when the read has ended, even if the loop serves the connection several times until then.
func TestAFileThatIsReadWhenAConnectionBreaksIsReported(t *testing.T) {
	r, w := blockingPipe(t)
	_, err := w.Write([]byte{0})
	testkit.Must(t, err)
	release, ended := make(chan struct{}), make(chan error, 2)
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: &server.Dispatcher{Framing: framing.Lines{}, Opened: p.Open, Closed: p.Close,
		Serve: func(server.Reply, []byte) { <-release }}})
	c, nc := p.connect(t, s)
	testkit.Must(t, c.SendFile(r, 0, 1<<20, func(err error) { ended <- err }))
	expect(t, nc, "\x00")
	send(t, nc, "work\n")
	testkit.Until(t, "the request", func() bool { return s.Stats().RunningRequests == 1 })
	reset(t, nc)
	<-c.Context().Done()
	for range 3 {
		c.SetTimeouts(server.Timeouts{}) // for which the loop serves the connection
		onLoop(t, c, func() {})
	}
	if len(ended) > 0 {
		t.Errorf("done was called while the file was read: %v", <-ended)
	}
	_, err = w.Write([]byte("y"))
	testkit.Must(t, err)
	testkit.CheckErr(t, "done", testkit.Await(t, ended, "done"), server.ErrClosed)
	close(release)
	if reason := testkit.Await(t, p.closed, "Close"); !isGone(reason) {
		t.Errorf("Close was called with %v", reason)
	}
	s.shutdown(t)
	s.drained(t)
	if len(ended) > 0 {
		t.Errorf("done was called again: %v", <-ended)
	}
}

// A peer that leaves many requests behind costs no turn for each of them.
func TestRequestsOfABrokenConnectionAreServedInBatches(t *testing.T) {
	const requests = 10_000
	began, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	served := 0
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
		if served++; served == 1 {
			close(began)
			<-goOn
			<-w.Context().Done() // the reset has been noticed
		}
		if served == requests {
			close(ended)
		}
	})})
	nc := s.dial(t)
	send(t, nc, strings.Repeat("g\n", requests))
	testkit.Await(t, began, "the first request")
	reset(t, nc)
	before := s.Stats().Loops[0].Loop.Turns
	close(goOn)
	testkit.Await(t, ended, "the last request")
	if turns := s.Stats().Loops[0].Loop.Turns - before; turns > requests/8 {
		t.Errorf("%d requests of a broken connection took %d turns", requests, turns)
	}
}
