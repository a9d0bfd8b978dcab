package server

import (
	"bufio"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// The benchmarks below measure the server's own code: the kernel is replaced by one that always has a request ready on every
// connection and always accepts the answer. Their result is the cost of a request without its system calls.

// benchPoller reports every descriptor whose client has sent a request.
type benchPoller struct {
	tags  []uint64 // by descriptor; 0 for none
	calls *benchCalls
	stop  atomic.Bool
}

func (p *benchPoller) Name() string             { return "bench" }
func (p *benchPoller) Features() event.Features { return event.FeatureConcurrent }
func (p *benchPoller) FD() int                  { return -1 }
func (p *benchPoller) Add(fd int, _ event.Flags, tag uint64) error {
	p.tags[fd] = tag
	return nil
}
func (p *benchPoller) Modify(int, event.Flags, uint64) error { return nil }
func (p *benchPoller) Remove(fd int) error                   { p.tags[fd] = 0; return nil }
func (p *benchPoller) Wake() error                           { return nil }
func (p *benchPoller) Close() error                          { return nil }
func (p *benchPoller) Wait(ready []event.Ready, _ time.Duration) (n int, err error) {
	if p.stop.Load() {
		time.Sleep(time.Millisecond)
		return 0, nil
	}
	for fd, tag := range p.tags {
		if tag != 0 && !p.calls.inFlight[fd] {
			ready[n] = event.Ready{Tag: tag, What: event.Read}
			n++
		}
	}
	if n == 0 {
		runtime.Gosched()
	}
	return n, nil
}

// benchCalls has the system calls of the simulated kernel.
type benchCalls struct {
	sock.Kernel
	request  []byte
	inFlight []bool // by descriptor: the client waits for its answer. Loop only
	left     int
	poller   *benchPoller
	done     chan struct{}
}

func (k *benchCalls) Read(fd int, p []byte) (int, error) {
	if k.inFlight[fd] {
		return 0, unix.EAGAIN
	}
	k.inFlight[fd] = true
	return copy(p, k.request), nil
}

func (k *benchCalls) Write(fd int, p []byte) (int, error) {
	k.inFlight[fd] = false
	if k.left--; k.left == 0 {
		k.poller.stop.Store(true)
		close(k.done)
	}
	return len(p), nil
}

func (k *benchCalls) Close(int) error { return nil }

// firstFD is above all descriptors that are open.
const firstFD = 100

func benchServer(b *testing.B, h Handler, conns int) {
	poller := &benchPoller{tags: make([]uint64, conns+firstFD)}
	calls := &benchCalls{request: append(make([]byte, 63), '\n'), inFlight: make([]bool, conns+firstFD), poller: poller, done: make(chan struct{})}
	poller.calls = calls
	s := &Server{
		Handler: h, NumLoops: 1, calls: calls, Logger: slog.New(slog.DiscardHandler),
		LoopConfig: &event.Config{IgnoreEnv: true, Driver: event.DriverThread, OpenPoller: func() (event.Poller, error) { return poller, nil }},
	}
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	l := s.loops[0]
	calls.left = max(b.N, conns)
	poller.stop.Store(true)
	ready := make(chan struct{})
	if err := l.ev.Post(func() {
		for i := range conns {
			s.enterConn(false)
			c, err := s.newConn(l, firstFD+i, sock.Peer{}, nil, connSetup{})
			if err != nil {
				b.Error(err)
				continue
			}
			c.begin()
		}
		close(ready)
	}); err != nil {
		b.Fatal(err)
	}
	<-ready
	b.ReportAllocs()
	b.ResetTimer()
	poller.stop.Store(false)
	<-calls.done
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkRequestOnLoop(b *testing.B) {
	benchServer(b, HandlerFunc(func(c *Conn, p []byte) (int, error) { return c.Write(p) }), 50)
}

func BenchmarkRequestOnWorkers(b *testing.B) {
	benchServer(b, Dispatch(bufio.ScanLines, func(w Reply, line []byte) {
		_, _ = w.Write(line)
		_, _ = w.WriteString("\n")
	}), 50)
}
