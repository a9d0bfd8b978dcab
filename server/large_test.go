package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/sock/socktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// largeLine is longer than what is gathered or kept in small buffers, and shorter than a read.
var largeLine = strings.Repeat("0123456789", 4000) + "\n"

// largeHandlers are handlers that answer a line with itself.
func largeHandlers() map[string]server.Handler {
	handlers := map[string]server.Handler{"callback": calls{data: echoWholeLines}}
	for _, p := range placements {
		d := echoLines()
		d.Placement = p
		handlers[p.String()] = d
	}
	return handlers
}

// echoWholeLines answers the first line.
func echoWholeLines(c *server.Conn, p []byte) (int, error) {
	return c.Write(p[:bytes.IndexByte(p, '\n')+1])
}

// callLog notes the order and the sizes of the calls that read or write something.
type callLog struct {
	sock.Kernel
	mu  sync.Mutex // held during the calls, so that the log has a call when a client sees its effect
	log []string
}

// note notes a call that has transferred n bytes. Under mu.
func (k *callLog) note(what string, n int) {
	if n > 0 {
		k.log = append(k.log, fmt.Sprint(what, " ", n))
	}
}

// take returns the log and empties it.
func (k *callLog) take() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	log := strings.Join(k.log, ", ")
	k.log = nil
	return log
}

func (k *callLog) Read(fd int, p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, err := k.Kernel.Read(fd, p)
	k.note("read", n)
	return n, err
}

func (k *callLog) Write(fd int, p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, err := k.Kernel.Write(fd, p)
	k.note("write", n)
	return n, err
}

func (k *callLog) Writev(fd int, p [][]byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, err := k.Kernel.Writev(fd, p)
	k.note("writev", n)
	return n, err
}

// together calls fn while a callback holds the loop, so that the loop finds all that fn sends at once.
func together(t *testing.T, s *running, fn func()) {
	t.Helper()
	begun, release := make(chan struct{}), make(chan struct{})
	testkit.Must(t, s.Loops()[0].Post(func() { close(begun); <-release }))
	testkit.Await(t, begun, "the callback")
	fn()
	close(release)
}

// trip sends p, and reads as many bytes.
func trip(t *testing.T, nc net.Conn, p string) {
	t.Helper()
	send(t, nc, p)
	expect(t, nc, p)
}

// The answer to a large request is written with one system call, and not copied to the output before.
func TestALargeAnswerIsOneWrite(t *testing.T) {
	for name, h := range largeHandlers() {
		k := &callLog{}
		srv := &server.Server{Handler: h}
		srv.SetCalls(k)
		s := start(t, rig{"unix", false, 1}, srv)
		nc := s.dial(t)
		together(t, s, func() { send(t, nc, largeLine) })
		expect(t, nc, largeLine)
		onLoop := name == "callback" || leadersRun() && name != server.OnWorkers.String()
		if got, want := k.take(), fmt.Sprintf("read %d, write %[1]d", len(largeLine)); onLoop && got != want {
			t.Errorf("%s: %s; want %s", name, got, want)
		}
		hangUp(nc)
		s.shutdown(t)
	}
}

// Buffers of large requests and answers are used again.
func TestALargeRequestDoesNotAllocate(t *testing.T) {
	if server.AssertsLoop {
		t.Skip("in race builds sync.Pool loses objects at random")
	}
	for name, h := range largeHandlers() {
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h})
		nc := s.dial(t)
		p, q := []byte(largeLine), []byte("small\n")
		buf := make([]byte, len(p))
		round := func() {
			for _, request := range [][]byte{p, q, p} {
				_, err := nc.Write(request)
				if err == nil {
					_, err = io.ReadFull(nc, buf[:len(request)])
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 100 {
			round()
		}
		if n := allocations(0, round); n != 0 {
			t.Errorf("%s: %.1f allocations for two large requests and a small one", name, n)
		}
	}
}

// A large buffer counts as what it is. It is given back when little is left in it, and when the request is complete.
func TestTheBufferOfALargeRequestIsCounted(t *testing.T) {
	d := echoLines()
	d.Placement = server.OnLoop
	s := start(t, rig{"unix", false, 1}, &server.Server{Handler: d})
	nc := s.dial(t)
	buffered := func(what string, least, most int64) {
		t.Helper()
		testkit.Until(t, what, func() bool { n := s.Stats().BufferedBytes; return least <= n && n <= most })
	}
	half := strings.Repeat("x", 40<<10)
	together(t, s, func() { send(t, nc, half) })
	buffered("an incomplete request", 64<<10, 66<<10)
	send(t, nc, "\nrest")
	expect(t, nc, half+"\n")
	buffered("the beginning of the next request", 4, 20<<10)
	long := strings.Repeat("y", 20<<10)
	together(t, s, func() { send(t, nc, half+"\n"+long) })
	expect(t, nc, "rest"+half+"\n")
	buffered("a long rest", 64<<10, 66<<10)
	send(t, nc, half+"\n")
	expect(t, nc, long+half+"\n")
	buffered("nothing", 0, 0)
}

// The peer takes few bytes at a time, so that a part of a write is left. The parts of the answer and other writes stay in order.
func TestAPartialWriteKeepsTheOrder(t *testing.T) {
	answer := func(write func(string) (int, error)) {
		for i := range 5 {
			_, err := write(strings.Repeat(fmt.Sprint(i), 10+15_000*i))
			if err != nil {
				panic(err)
			}
		}
	}
	want := ""
	answer(func(s string) (int, error) { want += s; return len(s), nil })
	inCallback := func(c *server.Conn, p []byte) (int, error) { answer(c.WriteString); return len(p), nil }
	handlers := map[string]server.Handler{"callback": calls{data: inCallback}}
	for _, p := range placements {
		handlers[p.String()] = &server.Dispatcher{Framing: framing.Lines{}, Placement: p, Serve: func(w server.Reply, _ []byte) { answer(w.WriteString) }}
	}
	for name, h := range handlers {
		for _, limit := range []int{1000, 20_000, 50_000} {
			srv := &server.Server{Handler: h}
			srv.SetCalls(socktest.New(&sock.Kernel{}, func(c socktest.Call) socktest.Fault {
				switch {
				case c.Name != socktest.Write && c.Name != socktest.Writev:
				case c.Number%3 == 0:
					return socktest.Fault{Err: unix.EAGAIN}
				default:
					return socktest.Fault{Limit: limit}
				}
				return socktest.Fault{}
			}))
			s := start(t, rig{"tcp", false, 1}, srv)
			nc := s.dial(t)
			for range 3 {
				send(t, nc, "go\n")
				got := make([]byte, len(want))
				if _, err := io.ReadFull(nc, got); err != nil || string(got) != want {
					t.Fatalf("%s, at most %d bytes at a time: another answer came, %v", name, limit, err)
				}
			}
			hangUp(nc)
			s.shutdown(t)
		}
	}
}

// The reason is the error of the write, which was made at once.
func TestALargeWriteThatFailsEndsTheConnection(t *testing.T) {
	for name, h := range largeHandlers() {
		reasons := make(chan error, 1)
		srv := &server.Server{Handler: closeReporter{h, reasons}}
		srv.SetCalls(socktest.New(&sock.Kernel{}, func(c socktest.Call) socktest.Fault {
			if c.Name == socktest.Write || c.Name == socktest.Writev {
				return socktest.Fault{Err: unix.ENOBUFS}
			}
			return socktest.Fault{}
		}))
		s := start(t, rig{"unix", false, 1}, srv)
		nc := s.dial(t)
		send(t, nc, largeLine)
		testkit.CheckErr(t, name, testkit.Await(t, reasons, "Close"), unix.ENOBUFS)
		hangUp(nc)
	}
}

// closeReporter reports the reason of Close.
type closeReporter struct {
	server.Handler
	reasons chan error
}

func (h closeReporter) Unwrap() server.Handler { return h.Handler }

func (h closeReporter) Close(c *server.Conn, reason error) {
	h.Handler.Close(c, reason)
	h.reasons <- reason
}

// A few ready connections are answered one after the other; the loop reads the next one when the answer to the one before is written. So it
// is with many connections if the requests are large.
func TestTheLeaderAnswersBeforeItReadsTheNextConnection(t *testing.T) {
	needsLeaders(t)
	for _, c := range []struct {
		conns   int
		request string
	}{{3, "small\n"}, {8, largeLine}} {
		d := echoLines()
		d.Placement = server.OnLoop
		k := &callLog{}
		srv := &server.Server{Handler: d}
		srv.SetCalls(k)
		s := start(t, rig{"unix", false, 1}, srv)
		conns := make([]net.Conn, c.conns)
		for i := range conns {
			conns[i] = s.dial(t)
			trip(t, conns[i], "first\n")
		}
		one := fmt.Sprintf("read %d, write %[1]d", len(c.request))
		want := one + strings.Repeat(", "+one, c.conns-1)
		got := ""
		for tries := 0; got != want && tries < 100; tries++ { // a tick ends the turn, and then the requests wait for its end
			together(t, s, func() {
				k.take()
				for _, nc := range conns {
					send(t, nc, c.request)
				}
			})
			for _, nc := range conns {
				expect(t, nc, c.request)
			}
			got = k.take()
		}
		if got != want {
			t.Errorf("%d connections: %s; want %s", c.conns, got, want)
		}
		hangUp(conns...)
		s.shutdown(t)
	}
}

// The memory of a body that the handler has begun to receive is still in the processor's caches. The other connections wait for two reads
// at most.
func TestABodyIsReadOnWithoutWaitingForOtherConnections(t *testing.T) {
	const reads, size = 64 << 10, 180 << 10
	bodies := map[*server.Conn]int{}
	handler := calls{data: func(c *server.Conn, p []byte) (int, error) {
		if bodies[c] += len(p); bodies[c] == size {
			bodies[c] = 0
			return len(p), second(c.WriteString("ok"))
		}
		c.ReadInto(make([]byte, min(reads, size-bodies[c])))
		return len(p), nil
	}}
	k := &callLog{}
	srv := &server.Server{Handler: handler}
	srv.SetCalls(k)
	s := start(t, rig{"unix", false, 1}, srv)
	conns := []net.Conn{s.dial(t), s.dial(t)}
	body := strings.Repeat("b", size)
	for _, nc := range conns { // from its first ReadInto on a connection is one with layers
		send(t, nc, body)
		expect(t, nc, "ok")
	}
	together(t, s, func() {
		k.take()
		for _, nc := range conns {
			send(t, nc, body)
		}
	})
	for _, nc := range conns {
		expect(t, nc, "ok")
	}
	const two, last = "read 65536, read 65536", "read 53248, write 2"
	if got, want := k.take(), strings.Join([]string{two, two, last, last}, ", "); got != want {
		t.Errorf("calls: %s; want %s", got, want)
	}
	hangUp(conns...)
}
