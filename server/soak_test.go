package server_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

const (
	soakClients = 24
	soakPushers = 2
	// soakPatience is how long the run may make no progress, also on a busy machine.
	soakPatience = 3 * testkit.Patience
)

// TestSoak runs clients of all kinds with one server, and pushes and broadcasts from other goroutines, and checks every byte: the answers
// are correct and in order; pushes are between them; accepted output arrives if the connection ended in order; every write with a
// completion has one outcome; and in the end nothing is left.
//
// EVMQ_SOAK sets the duration (3s); EVMQ_SEED repeats the choices of another run.
func TestSoak(t *testing.T) {
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
	certificate() // it is kept, and must not count as growth of the heap
	for _, tls := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "tls"}[tls]
		t.Run(name, func(t *testing.T) { soakFor(t, length/2, seed, tls) })
	}
}

// soak is a run: one server, its clients, and their goroutines.
type soak struct {
	t     *testing.T
	seed  uint64
	srv   *server.Server
	tls   bool
	dir   string // for files
	noise []byte // random bytes, of which bodies are made
	begun time.Time
	end   time.Time

	onLoop    *soakHandler
	onWorkers *server.Dispatcher
	listeners []soakListener

	links    sync.Map // of clients, by their numbers
	lastLink atomic.Uint32
	liveMu   sync.Mutex
	live     []*link

	isOpen           sync.Map // connections between Open and Close
	outcomes         sync.Map // *outcome, of those that are awaited
	stopping         atomic.Bool
	opened, closed   atomic.Int64
	answers, pushes  atomic.Int64
	sessions, orders atomic.Int64 // and the number of those that ended in order

	failOnce sync.Once
	failed   chan struct{}
	failure  string
}

// A soakListener is a listener of the server, with its kind of handler.
type soakListener struct {
	name       string
	addr       net.Addr
	handler    server.Handler
	concurrent bool
}

// fail stores the first failure, and ends the run. Later failures may be consequences of it.
func (s *soak) fail(format string, args ...any) {
	s.t.Logf(format, args...)
	s.failOnce.Do(func() {
		s.failure = fmt.Sprintf("after %v: ", time.Since(s.begun).Round(time.Millisecond)) + fmt.Sprintf(format, args...)
		close(s.failed)
	})
}

// over reports whether no session is to begin any more.
func (s *soak) over() bool {
	select {
	case <-s.failed:
		return true
	default:
		return time.Now().After(s.end)
	}
}

func soakFor(t *testing.T, length time.Duration, seed uint64, tls bool) {
	before := currentResources()
	s := &soak{t: t, seed: seed, tls: tls, dir: t.TempDir(), failed: make(chan struct{}), noise: make([]byte, 1<<20)}
	t.Logf("EVMQ_SEED=%d", seed)
	rng := s.rng(0)
	for i := 0; i < len(s.noise); i += 8 {
		binary.NativeEndian.PutUint64(s.noise[i:], rng.Uint64())
	}
	s.start(s.dir)
	s.begun = time.Now()
	s.end = s.begun.Add(length)

	var clients, pushers sync.WaitGroup
	for i := range soakClients {
		clients.Go(func() { s.client(s.rng(1 + i)) })
	}
	for i := range soakPushers {
		pushers.Go(func() { s.push(s.rng(100+i), i) })
	}
	pushers.Go(func() { s.broadcast(s.rng(200)) })
	select {
	case <-time.After(length):
	case <-s.failed:
	}

	s.stopping.Store(true)
	stopPosts := s.fillPosts()
	ctx, cancel := context.WithTimeout(context.Background(), soakPatience)
	defer cancel()
	if err := s.srv.Shutdown(ctx); err != nil {
		s.fail("Shutdown: %v", err)
	}
	clients.Wait()
	pushers.Wait()
	stopPosts()
	s.account()
	st := s.srv.Stats()
	t.Logf("%d sessions, %d ended in good order; %d answers, %d pushes arrived; most requests that waited %d",
		s.sessions.Load(), s.orders.Load(), s.answers.Load(), s.pushes.Load(), st.MaxQueuedRequests)
	s.srv = nil
	if s.failure != "" {
		t.Fatalf("EVMQ_SEED=%d: %s", seed, s.failure)
	}
	before.expect(t)
}

// rng is a source of choices for one goroutine.
func (s *soak) rng(i int) *rand.Rand { return rand.New(rand.NewPCG(s.seed, uint64(i))) }

// start starts the server, with a listener for each kind of handler and network.
func (s *soak) start(dir string) {
	s.onLoop, s.onWorkers = &soakHandler{s}, s.dispatcher(1)
	s.srv = &server.Server{
		NumLoops: 2, Workers: 4, Queue: 6, MaxOutput: frameMax, MaxInput: 2 * frameMax, CloseTimeout: soakPatience,
		Logger: slog.New(slog.DiscardHandler), LoopConfig: &event.Config{PostLimit: 100},
	}
	if s.tls {
		s.srv.TLS = serverTLS()
	}
	listen := func(network, address string, h server.Handler, concurrent bool) {
		ln, err := s.srv.Listen(context.Background(), network, address, &server.ListenerConfig{Handler: h})
		testkit.Must(s.t, err)
		s.listeners = append(s.listeners, soakListener{fmt.Sprintf("%s %T", network, h), ln.Addr(), h, concurrent})
	}
	listen("tcp", "127.0.0.1:0", s.onLoop, false)
	listen("tcp", "127.0.0.1:0", s.onWorkers, false)
	listen("unix", filepath.Join(dir, "loop"), s.onLoop, false)
	listen("unix", filepath.Join(dir, "work"), s.onWorkers, false)
	listen("tcp", "127.0.0.1:0", s.onLoop, false)
	listen("tcp", "127.0.0.1:0", s.dispatcher(4), true)
}

func (s *soak) dispatcher(concurrent int) *server.Dispatcher {
	return &server.Dispatcher{
		Framing: framing.LengthPrefix{Size: 4, Order: binary.BigEndian, Max: frameMax}, Concurrent: concurrent,
		Serve:  func(w server.Reply, message []byte) { s.serve(w, message, concurrent) },
		Opened: s.open, Closed: s.close,
	}
}

// fillPosts keeps the posts of the loops at their limit until stop is called.
func (s *soak) fillPosts() (stop func()) {
	loops := map[*event.Loop]bool{}
	for c := range s.srv.Conns() {
		loops[c.Loop()] = true
	}
	var stops []func()
	for l := range loops {
		stops = append(stops, fillPosts(s.t, l, func() {}))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// account checks the state after the end of the server.
func (s *soak) account() {
	st := s.srv.Stats()
	switch {
	case s.opened.Load() != s.closed.Load():
		s.fail("Open was called %d times, Close %d times", s.opened.Load(), s.closed.Load())
	case st.Opened != st.Closed || st.Opened != uint64(s.opened.Load()) || st.OpenConns != 0:
		s.fail("%d and %d calls of Open and Close, and %+v", s.opened.Load(), s.closed.Load(), st)
	case st.BufferedBytes != 0 || st.QueuedRequests != 0 || st.RunningRequests != 0:
		s.fail("something is left in the server: %+v", st)
	case s.answers.Load() == 0 || s.pushes.Load() == 0:
		s.fail("nothing arrived")
	}
	for o := range s.outcomes.Range {
		s.fail("never heard of %s", o.(*outcome).what)
	}
	for _, l := range s.links.Range {
		if l := l.(*link); l.conn.Load() != nil && !l.isClosed() {
			s.fail("Close was not called for %v", l)
		}
	}
}

// resources are the resources of the process.
type resources struct {
	goroutines  int
	descriptors map[string]string
	heap        uint64
}

func currentResources() (st resources) {
	runtime.GC() // twice, since pools keep objects for one collection
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	st.heap = mem.HeapAlloc
	st.goroutines = runtime.NumGoroutine()
	st.descriptors = leaktest.Descriptors()
	return st
}

// expect fails the test unless the process returns to st. The memory that the runtime keeps is far below the tolerance.
func (st resources) expect(t *testing.T) {
	const slack = 4 << 20
	var now resources
	for deadline := time.Now().Add(testkit.Patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		now = currentResources()
		if now.goroutines <= st.goroutines && len(leaktest.Opened(st.descriptors)) == 0 && now.heap <= st.heap+slack {
			return
		}
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("before %+v, afterwards %+v, left open %q\n%s", st, now, leaktest.Opened(st.descriptors), stacks[:runtime.Stack(stacks, true)])
}
