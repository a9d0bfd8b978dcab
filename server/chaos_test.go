package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// chaos is a round of TestNothingIsLostInChaos.
type chaos struct {
	t                                   *testing.T
	srv                                 *server.Server
	seed                                uint64
	n                                   atomic.Uint64 // of random generators
	peer                                string
	away                                sync.WaitGroup // goroutines that act later
	open                                sync.Map       // *Conn -> state
	handlers                            []server.Handler
	pending                             atomic.Int64
	opens, closes, dialled, failedDials atomic.Int64
	abrupt                              bool
	work                                sync.Map // *Conn -> *atomic.Int32
}

// r returns a new generator for each use, so that a seed determines most choices.
func (k *chaos) r() *rand.Rand { return rand.New(rand.NewPCG(k.seed, k.n.Add(1))) }

// outcome counts a call that has one outcome: accepted is called with the result of the call, reported with the outcome.
func (k *chaos) outcome() (reported, accepted func(error)) {
	var n atomic.Int32
	k.pending.Add(1)
	return func(error) {
			if n.Add(1) != 1 {
				k.t.Error("an outcome reported twice")
			}
			k.pending.Add(-1)
		}, func(err error) {
			if err != nil {
				if n.Add(1) != 1 {
					k.t.Error("an outcome of a refused call")
				}
				k.pending.Add(-1)
			}
		}
}

// echoPeer starts an echo server to dial, which uses TLS for some connections, and closes each soon.
func echoPeer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				_ = nc.SetDeadline(time.Now().Add(200 * time.Millisecond))
				if rand.IntN(2) == 0 {
					nc = tls.Server(nc, serverTLS())
				}
				_, _ = io.Copy(nc, nc)
				_ = nc.Close()
			})
		}
	})
	return ln.Addr().String()
}

// dial connects to the peer, or to a port without a listener.
func (k *chaos) dial(r *rand.Rand, near *server.Conn) {
	o := server.DialConfig{Handler: k.handlers[r.IntN(len(k.handlers))], Timeout: time.Duration(1+r.IntN(300)) * time.Millisecond}
	if r.IntN(2) == 0 {
		o.TLS = clientTLS()
	}
	if r.IntN(2) == 0 {
		o.Near = near
	}
	addr := k.peer
	if r.IntN(3) == 0 {
		_, p, _ := net.SplitHostPort(addr)
		addr = "localhost:" + p
	} else if r.IntN(4) == 0 {
		addr = "127.0.0.1:1"
	}
	c, err := k.srv.Dial(context.Background(), "tcp", addr, &o)
	if err == nil {
		k.dialled.Add(1)
		for range r.IntN(4) {
			k.act(c, "other")
		}
	}
}

// chaosHandler answers lines on the loop.
type chaosHandler struct{ k *chaos }

func (h chaosHandler) Open(c *server.Conn) {
	h.k.opens.Add(1)
	if _, dup := h.k.open.LoadOrStore(c, "open"); dup {
		h.k.t.Error("Open twice or after Close")
	}
	h.k.act(c, "open")
}
func (h chaosHandler) Data(c *server.Conn, p []byte) (int, error) {
	if v, ok := h.k.work.Load(c); ok && v.(*atomic.Int32).Load() > 0 {
		h.k.t.Error("Data while a worker has a request")
	}
	if v, _ := h.k.open.Load(c); v != "open" {
		h.k.t.Errorf("Data in state %v", v)
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return 0, nil
	}
	if _, err := c.Write(p[:i+1]); errors.Is(err, server.ErrFull) {
		c.PauseRead(nil)
		time.AfterFunc(2*time.Millisecond, func() { c.ResumeRead(nil) })
		return 0, nil
	}
	h.k.act(c, "data")
	return i + 1, nil
}
func (h chaosHandler) Close(c *server.Conn, reason error) {
	if v, ok := h.k.work.Load(c); ok && v.(*atomic.Int32).Load() > 0 && !h.k.abrupt {
		h.k.t.Error("Close while a worker has a request")
	}
	v, loaded := h.k.open.Swap(c, "closed")
	if v == "closed" {
		h.k.t.Error("Close twice")
	}
	if !loaded {
		h.k.failedDials.Add(1)
	}
	h.k.closes.Add(1)
	h.k.act(c, "close")
}

// chaosEOF keeps the connection open at the peer's end, and has the methods of MarkHandler.
type chaosEOF struct{ chaosHandler }

func (h chaosEOF) EOF(c *server.Conn)       { h.k.act(c, "eof"); c.Close() }
func (h chaosEOF) HighWater(c *server.Conn) { h.k.act(c, "high") }
func (h chaosEOF) LowWater(c *server.Conn)  { h.k.act(c, "low") }

// dispatcher answers n requests of a connection at once.
func (k *chaos) dispatcher(n int) *server.Dispatcher {
	return &server.Dispatcher{Framing: framing.Split{Func: bufio.ScanLines, Max: 64 << 10}, Concurrent: n, Opened: chaosHandler{k}.Open, Closed: chaosHandler{k}.Close,
		Serve: func(w server.Reply, m []byte) {
			c := w.Conn()
			v, _ := k.work.LoadOrStore(c, new(atomic.Int32))
			cnt := v.(*atomic.Int32)
			if got := cnt.Add(1); int(got) > map[bool]int{true: 4, false: 1}[n > 1] {
				k.t.Errorf("%d handlers of a connection, %d allowed", got, n)
			}
			defer cnt.Add(-1)
			before := string(m)
			r := k.r()
			if r.IntN(4) == 0 {
				time.Sleep(time.Duration(r.IntN(1000)) * time.Microsecond)
			}
			k.act(c, "worker")
			w.Write(m)
			if r.IntN(4) == 0 {
				w.Write(make([]byte, r.IntN(60<<10)))
			}
			if r.IntN(4) == 0 {
				w.Flush()
				k.act(c, "worker")
			}
			w.WriteString("\n")
			if string(m) != before {
				k.t.Error("a message has changed")
			}
		}}
}

// client runs hostile clients, one after the other.
func (k *chaos) client(addr net.Addr, useTLS bool, stop chan struct{}) {
	r := k.r()
	for {
		select {
		case <-stop:
			return
		default:
		}
		nc, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			return
		}
		rawc := nc.(*net.TCPConn)
		if useTLS && r.IntN(20) > 0 {
			nc = tls.Client(nc, clientTLS())
		}
		nc.SetDeadline(time.Now().Add(time.Duration(50+r.IntN(400)) * time.Millisecond))
		done := make(chan struct{})
		if r.IntN(6) > 0 {
			go func() { defer close(done); io.Copy(io.Discard, nc) }()
		} else {
			close(done) // it reads nothing
		}
		k.requests(r, nc)
		switch r.IntN(5) {
		case 0:
			rawc.SetLinger(0)
		case 3: // a half-close, and then a reset
			if h, ok := nc.(halfCloser); ok {
				h.CloseWrite()
			}
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
			rawc.SetLinger(0)
		case 1:
			if h, ok := nc.(halfCloser); ok {
				h.CloseWrite()
			}
			<-done
		case 2:
			select {
			case <-done:
			case <-stop:
			}
		}
		rawc.Close()
		<-done
	}
}

// requests sends some lines, of which the last of a piece may be cut.
func (k *chaos) requests(r *rand.Rand, nc net.Conn) {
	for range r.IntN(30) {
		var b []byte
		for range 1 + r.IntN(20) {
			b = append(b, bytes.Repeat([]byte{'a' + byte(r.IntN(26))}, r.IntN(300))...)
			b = append(b, '\n')
		}
		if r.IntN(5) == 0 {
			b = b[:r.IntN(len(b)+1)]
		}
		if _, err := nc.Write(b); err != nil {
			return
		}
		if r.IntN(3) == 0 {
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
		}
	}
}

// TestNothingIsLostInChaos calls all methods from all goroutines, while clients connect, disconnect, stop reading and send invalid data,
// handlers panic, files and dials fail, and the server ends in one of three ways. Each connection has one Open and then one Close, each
// write one outcome, requests of a connection run one at a time unless Concurrent is set, and nothing is left. EVMQ_SOAK sets the duration,
// and EVMQ_SEED repeats a round.
func TestNothingIsLostInChaos(t *testing.T) {
	length := 600 * time.Millisecond
	if testkit.Full() {
		length = 5 * time.Second
	}
	if v := os.Getenv("EVMQ_SOAK"); v != "" {
		var err error
		length, err = time.ParseDuration(v)
		testkit.Must(t, err)
	}
	seed := rand.Uint64()
	if v := os.Getenv("EVMQ_SEED"); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		testkit.Must(t, err)
	}
	peer := echoPeer(t)
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); seed++ {
		chaosRound(t, seed, peer)
	}
}

// chaosRound starts a server, uses it, and ends it.
func chaosRound(t *testing.T, seed uint64, peer string) {
	k := &chaos{t: t, seed: seed, peer: peer}
	r := k.r()
	k.handlers = []server.Handler{chaosHandler{k}, chaosEOF{chaosHandler{k}}, k.dispatcher(1), k.dispatcher(1), k.dispatcher(2), k.dispatcher(4)}
	useTLS := r.IntN(2) == 0
	k.srv = k.server(r, useTLS)
	end := k.start(useTLS)
	time.Sleep(time.Duration(100+r.IntN(400)) * time.Millisecond) // the length of the round
	if r.IntN(3) == 0 {
		defer k.fillPosts()()
	}
	way := r.IntN(3)
	err := k.shutDown(r, way)
	end()
	k.checkEnd(way, err)
}

// server makes a server of a random configuration.
func (k *chaos) server(r *rand.Rand, useTLS bool) *server.Server {
	srv := &server.Server{NumLoops: 1 + r.IntN(2), Workers: 1 + r.IntN(4), Queue: 1 + r.IntN(8), WhenFull: server.FullPolicy(r.IntN(3)), BusyText: "busy\n",
		MaxOutput: 1 << (12 + r.IntN(8)), MaxInput: 64 << 10, CloseTimeout: time.Duration(50+r.IntN(300)) * time.Millisecond,
		IdleTimeout: time.Duration(50+r.IntN(500)) * time.Millisecond, HandshakeTimeout: 300 * time.Millisecond, MaxHandshakes: 1 + r.IntN(4), WriteTimeout: 300 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), OnPanic: func(c *server.Conn, v any, stack []byte) {
			if v != "chaos" {
				k.t.Errorf("panic: %v\n%s", v, stack)
			}
			k.mayExit()
		}, OnReject: func(*server.Conn, error) { k.mayExit() }, Handler: k.handlers[0], LoopConfig: &event.Config{PostLimit: 1 + r.IntN(100)}}
	if useTLS {
		srv.TLS = serverTLS()
		srv.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { k.mayExit(); return nil, nil }
	}
	if r.IntN(3) == 0 {
		srv.PickLoop = func(_ net.Addr, loops int) int { k.mayExit(); return k.r().IntN(loops) }
	}
	if r.IntN(3) == 0 {
		srv.ReadLimit = server.RateLimit{BytesPerSecond: float64(100<<10 + r.IntN(1<<20))}
	}
	if r.IntN(3) == 0 {
		srv.WriteLimit = server.RateLimit{BytesPerSecond: float64(100<<10 + r.IntN(1<<20))}
	}
	if r.IntN(3) == 0 {
		srv.MaxConns = 8
	}
	return srv
}

// start starts the clients, and goroutines that use the connections from outside. The result waits for their end.
func (k *chaos) start(useTLS bool) (end func()) {
	t, srv := k.t, k.srv
	var addrs []net.Addr
	for _, h := range k.handlers {
		ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: h})
		testkit.Must(t, err)
		addrs = append(addrs, ln.Addr())
	}
	stop := make(chan struct{})
	var wg, others sync.WaitGroup
	for i := range 12 {
		wg.Go(func() { k.client(addrs[i%len(addrs)], useTLS, stop) })
	}
	for range 2 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				onGoroutine(func() {
					for c := range srv.Conns() {
						k.act(c, "other")
					}
					k.dial(k.r(), nil)
				})
				time.Sleep(time.Duration(1+k.r().IntN(3)) * time.Millisecond)
			}
		})
	}
	return func() {
		close(stop)
		wg.Wait()
		others.Wait()
	}
}

// The ways in which a round ends.
const (
	shutDownInTime   = iota // Shutdown has all the time that it needs
	shutDownTooLate         // Shutdown's context ends early
	shutDownAndClose        // Close while Shutdown waits
)

// shutDown ends the server in one of the ways.
func (k *chaos) shutDown(r *rand.Rand, way int) error {
	t, srv, seed := k.t, k.srv, k.seed
	began := time.Now()
	var err error
	k.abrupt = false
	switch way {
	case shutDownInTime:
		ctx, cancel := testkit.Soon()
		err = srv.Shutdown(ctx)
		cancel()
		if err != nil {
			st := srv.Stats()
			st.Loops = nil
			t.Errorf("seed %d: Shutdown after %v: %v; %+v", seed, time.Since(began), err, st)
		}
	case shutDownTooLate:
		k.abrupt = true
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(30))*time.Millisecond)
		err = srv.Shutdown(ctx)
		cancel()
	case shutDownAndClose:
		k.abrupt = true
		done := make(chan error, 1)
		go func() { done <- srv.Shutdown(context.Background()) }()
		time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
		err = srv.Close()
		<-done
	}
	if d := time.Since(began); d > testkit.Patience {
		t.Errorf("seed %d: way %d took %v", seed, way, d)
	}
	return err
}

// checkEnd checks that nothing is left, and that each connection that was opened was closed.
func (k *chaos) checkEnd(way int, err error) {
	t, srv, seed := k.t, k.srv, k.seed
	var late *server.ShutdownError
	if errors.As(err, &late) && late.Handlers > 0 || way == shutDownAndClose { // Close does not wait for handlers that run
		testkit.Until(t, "the last handlers' end", func() bool {
			st := srv.Stats()
			return st.RunningRequests == 0 && st.BufferedBytes == 0 && st.OpenConns == 0 && k.pending.Load() == 0
		})
	}
	st := srv.Stats()
	st.Loops = nil
	if st.BufferedBytes != 0 || st.OpenConns != 0 || st.Opened != uint64(k.opens.Load()) || st.Opened != st.Closed || k.pending.Load() != 0 {
		t.Errorf("seed %d way %d (%v): opens %d closes %d failed dials %d pending %d %+v", seed, way, err, k.opens.Load(), k.closes.Load(), k.failedDials.Load(), k.pending.Load(), st)
	}
	for c, v := range k.open.Range {
		if v == "open" {
			t.Errorf("seed %d: no Close of %v", seed, c.(*server.Conn).ID())
		}
	}
}
