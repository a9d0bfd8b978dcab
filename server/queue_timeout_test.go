package server_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// hung is a server with QueueTimeout, whose only worker has a handler that hangs until release is closed, and with a queue of two.
type hung struct {
	*running
	clock   *testkit.Clock
	release chan struct{}
	first   net.Conn // of the handler that hangs
	reasons chan error
	ran     chan string // the lines of handlers
	slow    atomic.Bool // the framing takes half of QueueTimeout, once
}

// Next is that of Lines.
func (h *hung) Next(data []byte, cursor int, atEOF bool) (framing.Result, error) {
	if h.slow.CompareAndSwap(true, false) {
		h.clock.Advance(limit / 2)
	}
	return framing.Lines{}.Next(data, cursor, atEOF)
}

// MaxLen is that of Lines.
func (h *hung) MaxLen() int { return framing.Lines{}.MaxLen() }

// hangWorker makes the worker of an executor hang: "own", or "pool".
func hangWorker(t *testing.T, r rig, name string, concurrent int, srv *server.Server) *hung {
	t.Helper()
	h := &hung{release: make(chan struct{}), ran: make(chan string, 1000)}
	begun := make(chan struct{})
	d := byWord(server.OnWorkers, concurrent, func(_ server.Reply, line string) {
		if line == name+" hang" {
			close(begun)
			<-h.release
		}
		h.ran <- line
	})
	d.Framing = h
	h.reasons, d.Closed = closings()
	srv.Handler, srv.Workers, srv.Queue, srv.QueueTimeout = d, 1, 2, limit
	srv.Executors = map[string]server.Executor{"pool": newPool(t, 1, 2)}
	h.running, h.clock = startWithClock(t, r, srv)
	h.first = h.dial(t)
	send(t, h.first, name+" hang\n")
	testkit.Await(t, begun, "the handler") // a worker that has only taken its request may be late, and then the request is refused
	return h
}

// eachExecutor runs a test with the server's pool and with another one, with and without concurrent requests.
func eachExecutor(t *testing.T, test func(t *testing.T, r rig, name string, concurrent int)) {
	t.Helper()
	for _, name := range []string{"own", "pool"} {
		for _, concurrent := range []int{1, 8} {
			t.Run(name, func(t *testing.T) {
				each(t, func(t *testing.T, r rig) { test(t, r, name, concurrent) })
			})
		}
	}
}

// waiting returns the number of requests that wait, in the queue and in the backlog.
func (h *hung) waiting() (n int) {
	for _, st := range h.Stats().Executors {
		n += st.Queued + st.Backlog
	}
	return n
}

// pass makes d pass when the loops have set their timers.
func (h *hung) pass(t *testing.T, d time.Duration) {
	t.Helper()
	twoTurnsOfAll(t, h.running)
	h.clock.Advance(d)
}

// A request that has waited for QueueTimeout, in the queue or for room in it, is answered with BusyText, also if no worker becomes free. It does
// not run. Its connection stays open, and its next request begins a new wait. Nothing is refused before.
func TestARequestThatWaitsForTooLongIsRefused(t *testing.T) {
	eachExecutor(t, func(t *testing.T, r rig, name string, concurrent int) {
		h := hangWorker(t, r, name, concurrent, &server.Server{BusyText: "busy\n"})
		var all []net.Conn
		for i := range 5 { // two are in the queue, three wait for room
			nc := h.dial(t)
			send(t, nc, name+" waits\n")
			testkit.Until(t, "the request", func() bool { return h.waiting() == i+1 })
			all = append(all, nc)
		}
		h.pass(t, limit-time.Millisecond)
		late := h.dial(t)
		send(t, late, name+" late\n")
		testkit.Until(t, "the last request", func() bool { return h.waiting() == 6 && h.Stats().Expired == 0 })
		h.pass(t, time.Millisecond)
		for _, nc := range all {
			expect(t, nc, "busy\n")
		}
		if st := h.Stats(); st.Expired != 5 || st.Busy != 0 || st.Requests != 0 || h.waiting() != 3 { // the queue has the jobs of two that were refused
			t.Errorf("%d requests were refused, %d wait: %+v", st.Expired, h.waiting(), st)
		}
		if concurrent == 1 {
			send(t, all[0], name+" again\n")
			testkit.Until(t, "another request", func() bool { return h.waiting() == 4 })
		}
		h.pass(t, limit-time.Millisecond)
		expect(t, late, "busy\n")
		close(h.release)
		expect(t, h.first, name+" hang\n")
		if concurrent == 1 {
			expect(t, all[0], name+" again\n")
		}
		for _, nc := range all[1:] {
			send(t, nc, name+" more\n")
			expect(t, nc, name+" more\n")
		}
		hangUp(append(all, late, h.first)...)
		h.shutdown(t)
		testkit.Until(t, "the jobs of refused requests", func() bool { return h.waiting() == 0 }) // another pool may still have some
		h.drained(t)
		for len(h.ran) > 0 {
			if line := <-h.ran; line == name+" waits" || line == name+" late" {
				t.Errorf("the handler of %q, which was refused, has run", line)
			}
		}
	})
}

// The time that passes in the turn before the request is handed over, here in its framing, does not count.
func TestTheWaitOfARequestBeginsWhenItIsHandedOver(t *testing.T) {
	eachExecutor(t, func(t *testing.T, r rig, name string, concurrent int) {
		h := hangWorker(t, r, name, concurrent, &server.Server{BusyText: "busy\n"})
		defer close(h.release)
		early, late := h.dial(t), h.dial(t)
		send(t, early, name+" early\n")
		testkit.Until(t, "the request", func() bool { return h.waiting() == 1 })
		twoTurnsOfAll(t, h.running)
		h.slow.Store(true)
		send(t, late, name+" late\n")
		testkit.Until(t, "the late request", func() bool { return h.waiting() == 2 })
		h.pass(t, limit/2)
		expect(t, early, "busy\n")
		h.pass(t, limit/2-time.Millisecond)
		twoTurnsOfAll(t, h.running)
		testkit.WantEqual(t, "requests that were refused", h.Stats().Expired, 1)
		h.pass(t, time.Millisecond)
		expect(t, late, "busy\n")
		hangUp(early, late, h.first)
	})
}

// The reason is a timeout. The other connections stay open.
func TestWithoutBusyTextARequestThatWaitsForTooLongClosesItsConnection(t *testing.T) {
	eachExecutor(t, func(t *testing.T, r rig, name string, concurrent int) {
		h := hangWorker(t, r, name, concurrent, &server.Server{})
		nc := h.dial(t)
		send(t, nc, name+" waits\n"+name+" waits\n")
		testkit.Until(t, "the request", func() bool { return h.waiting() > 0 })
		h.pass(t, limit)
		reason := testkit.Await(t, h.reasons, "Close")
		var timeout net.Error
		if !errors.Is(reason, server.ErrQueueTimeout) || !errors.Is(reason, os.ErrDeadlineExceeded) || !errors.As(reason, &timeout) || !timeout.Timeout() ||
			server.ReasonOf(reason) != server.EndedQueueTimeout {
			t.Errorf("the reason is %v", reason)
		}
		if n, err := nc.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes, want the end", n)
		}
		close(h.release)
		expect(t, h.first, name+" hang\n")
		hangUp(h.first, nc)
		h.shutdown(t)
		testkit.Until(t, "the jobs of refused requests", func() bool { return h.waiting() == 0 }) // another pool may still have some
		h.drained(t)
	})
}

// The refusal is sent after the answers to earlier requests of the connection, and before those to later ones.
func TestARefusalKeepsTheOrderOfConcurrentRequests(t *testing.T) {
	for _, name := range []string{"own", "pool"} {
		each(t, func(t *testing.T, r rig) {
			h := hangWorker(t, r, name, 8, &server.Server{BusyText: "busy\n"})
			send(t, h.first, name+" 1\n"+name+" 2\n"+name+" 3\n")
			testkit.Until(t, "the requests", func() bool { return h.waiting() == 3 })
			h.pass(t, limit)
			testkit.Until(t, "the refusals", func() bool { return h.Stats().Expired == 3 })
			send(t, h.first, name+" 4\n")
			testkit.Until(t, "another request", func() bool { return h.Stats().BytesRead == uint64(5*len(name)+6+4*3) })
			close(h.release)
			expect(t, h.first, name+" hang\nbusy\nbusy\nbusy\n"+name+" 4\n")
			hangUp(h.first)
			h.shutdown(t)
			h.drained(t)
		})
	}
}

// A request that has begun in time is not refused, however long it runs. The deadline is set again for later requests.
func TestARequestThatHasBegunIsNotRefused(t *testing.T) {
	eachExecutor(t, func(t *testing.T, r rig, name string, concurrent int) {
		h := hangWorker(t, r, name, concurrent, &server.Server{BusyText: "busy\n"})
		h.pass(t, 2*limit)
		nc := h.dial(t)
		send(t, nc, name+" waits\n")
		testkit.Until(t, "the request", func() bool { return h.waiting() == 1 })
		h.pass(t, limit)
		expect(t, nc, "busy\n")
		close(h.release)
		expect(t, h.first, name+" hang\n")
		hangUp(h.first, nc)
		h.shutdown(t)
	})
}

// An Executor that never runs its jobs has no effect on later requests. The memory of its jobs counts until it runs them, and is bounded by
// MaxBuffered.
func TestTheJobsOfRefusedRequestsCountUntilTheyAreRun(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r rig) {
		e := new(heldExecutor)
		s, clock := startWithClock(t, r, &server.Server{QueueTimeout: limit, IdleTimeout: -1, BusyText: "busy\n", Executors: map[string]server.Executor{"held": e},
			Handler: byWord(server.OnWorkers, 1, func(server.Reply, string) { t.Error("a request that was refused has run") }), MaxBuffered: 64 << 10})
		nc := s.dial(t)
		refused := 0
		for ; ; refused++ {
			send(t, nc, "held\n")
			read := make(chan error, 1)
			go func() {
				_, err := io.ReadFull(nc, make([]byte, 5))
				read <- err
			}()
			testkit.Until(t, "the job", func() bool { return s.executorStats(t, "held").Queued == refused+1 || len(read) > 0 })
			twoTurnsOfAll(t, s)
			clock.Advance(limit)
			if testkit.Await(t, read, "the refusal") != nil {
				break
			}
			testkit.Until(t, "a memory that counts", func() bool { n := s.Stats().BufferedBytes; return n >= int64(refused+1)*300 && n < 66<<10 })
		}
		if refused < 20 || refused > 64<<10/100 {
			t.Errorf("MaxBuffered has ended the connection after %d requests", refused)
		}
		hangUp(nc)
		testkit.Until(t, "the end of the connection", func() bool { return s.Stats().OpenConns == 0 })
		if st := s.Stats(); st.Ended[server.EndedOverload] != 1 {
			t.Errorf("the connection has ended: %v", st.Ended)
		}
		e.runAll()
		s.shutdown(t)
		s.drained(t)
		if n := s.executorStats(t, "held").Queued; n != 0 {
			t.Errorf("%d jobs are counted", n)
		}
	})
}

// Many requests wait and begin while the deadline of others passes: each is answered once, by its handler or with BusyText.
func TestADeadlineRacesWithTheWorkers(t *testing.T) {
	const requests = 100
	each(t, func(t *testing.T, r rig) {
		for _, concurrent := range []int{1, 8} {
			s, clock := startWithClock(t, r, &server.Server{Workers: 1, Queue: 4, QueueTimeout: limit, IdleTimeout: -1, WriteTimeout: -1, HandshakeTimeout: -1, BusyText: "busy\n",
				Executors: map[string]server.Executor{"pool": newPool(t, 1, 4)}, Handler: byWord(server.OnWorkers, concurrent, func(server.Reply, string) { runtime.Gosched() })})
			stop := make(chan struct{})
			advanced := make(chan struct{})
			go func() {
				defer close(advanced)
				for {
					select {
					case <-stop:
						return
					default:
						clock.Advance(limit / 3)
						runtime.Gosched()
					}
				}
			}()
			errs := make(chan error, 8)
			for i := range 8 {
				nc := s.dial(t)
				go func() { errs <- answeredOrRefused(nc, []string{"own\n", "pool\n"}[i%2], requests) }()
			}
			for range 8 {
				if err := testkit.Await(t, errs, "the answers"); err != nil {
					t.Error(err)
				}
			}
			close(stop)
			<-advanced
			st := s.Stats()
			if st.Requests+st.Expired != 8*requests {
				t.Errorf("%d requests were answered and %d refused, want %d", st.Requests, st.Expired, 8*requests)
			}
			s.shutdown(t)
			testkit.Until(t, "the jobs of refused requests", func() bool { return s.Stats().QueuedRequests == 0 })
			s.drained(t)
		}
	})
}

// answeredOrRefused sends a line n times at once, and reads n answers.
func answeredOrRefused(nc net.Conn, line string, n int) error {
	defer nc.Close()
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < n && err == nil; i++ {
			_, err = io.WriteString(nc, line)
		}
		sent <- err
	}()
	one := make([]byte, 1)
	for range n {
		answer := ""
		for len(answer) == 0 || answer[len(answer)-1] != '\n' {
			if _, err := nc.Read(one); err != nil {
				return err
			}
			answer += string(one)
		}
		if answer != line && answer != "busy\n" {
			return errors.New("the answer is " + answer)
		}
	}
	return <-sent
}

// The rule holds with QueueTimeout, and for another executor, too.
func TestARequestForAnExecutorDoesNotAllocate(t *testing.T) {
	if server.AssertsLoop {
		t.Skip("in race builds sync.Pool loses objects at random")
	}
	for _, name := range []string{"own\n", "pool\n"} {
		for _, concurrent := range []int{1, 4} {
			s := start(t, rig{"tcp", false, 1}, &server.Server{QueueTimeout: limit, Executors: map[string]server.Executor{"pool": newPool(t, 2, 100)},
				Handler: &server.Dispatcher{Framing: byWord(0, 0, nil).Framing, Placement: server.OnWorkers, Concurrent: concurrent,
					ExecutorFor: func(line []byte) string {
						if line[0] == 'p' {
							return "pool"
						}
						return ""
					},
					Serve: func(w server.Reply, line []byte) {
						_, _ = w.Write(line)
						_, _ = w.WriteString("\n")
					}}})
			nc := s.dial(t)
			p := []byte(name + name + name)
			trip := func() {
				if _, err := nc.Write(p); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(nc, p); err != nil {
					t.Fatal(err)
				}
			}
			for range 100 {
				trip()
			}
			if n := allocations(0, trip); n != 0 {
				t.Errorf("%q, concurrent %d: %.1f allocations for three requests", name, concurrent, n)
			}
		}
	}
}

// With CancelOnEOF the loop reads while a request waits. The input that it has read is the next request.
func TestInputThatWasReadMeanwhileFollowsARefusal(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		begun, release := make(chan struct{}), make(chan struct{})
		d := byWord(server.OnWorkers, 1, func(_ server.Reply, line string) {
			if line == "own hang" {
				close(begun)
				<-release
			}
		})
		d.CancelOnEOF = true
		s, clock := startWithClock(t, r, &server.Server{Workers: 1, QueueTimeout: limit, BusyText: "busy\n", Handler: d})
		first, nc := s.dial(t), s.dial(t)
		send(t, first, "own hang\n")
		testkit.Await(t, begun, "the handler")
		send(t, nc, "own 1\n")
		testkit.Until(t, "the request", func() bool { return s.Stats().QueuedRequests == 1 })
		send(t, nc, "own 2\n")
		testkit.Until(t, "more input", func() bool { return s.Stats().BytesRead == 9+6+6 })
		twoTurnsOfAll(t, s)
		clock.Advance(limit)
		expect(t, nc, "busy\n")
		close(release)
		expect(t, nc, "own 2\n")
		expect(t, first, "own hang\n")
		hangUp(first, nc)
		s.shutdown(t)
		s.drained(t)
	})
}
