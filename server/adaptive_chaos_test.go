package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// mixture is a run of TestEachRequestIsAnsweredOnceWhilePlacementsChange.
type mixture struct {
	t          *testing.T
	s          *running
	handlers   []*server.Dispatcher // of each placement, with one request of a connection at a time and with several
	quickShare int                  // 12 of so many requests are not quick
	slowPhase  atomic.Bool          // the quick requests take a millisecond each
	left       atomic.Int64         // requests that are not sent yet
	ran        atomic.Int64
	answered   atomic.Int64
	ended, cut atomic.Int64 // requests that end their handler's goroutine, as run and as sent
}

// The kinds of requests. A request is a line "number kind"; its answer is "number size", a line end, and size bytes.
const (
	wayQuick     = "q"
	waySleep     = "s"
	wayCompute   = "c"
	wayYield     = "y" // calls Reply.Blocking, then blocks
	wayElsewhere = "e" // waits for another goroutine, which calls Blocking or does not
	wayLong      = "l" // has a long answer, in pieces
	waySwitch    = "h" // sets the connection's handler, so that later requests have another placement
	wayPanic     = "p"
	wayExit      = "x" // calls runtime.Goexit
)

// chooseKind returns a random kind of those after which the connection stays open. 12 of the given number are not quick.
func chooseKind(r *rand.Rand, of int) string {
	switch n := r.IntN(of); {
	case n < 3:
		return waySleep
	case n < 4:
		return wayCompute
	case n < 6:
		return wayYield
	case n < 8:
		return wayElsewhere
	case n < 10:
		return wayLong
	case n < 12:
		return waySwitch
	}
	return wayQuick
}

// served has the requests of a connection whose handlers were called.
type served struct {
	mu   sync.Mutex // guards what follows
	seen map[int]bool
}

// once fails the test if the request with this number was served before.
func (v *served) once(t *testing.T, number int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen[number] {
		t.Errorf("request %d is served twice", number)
	}
	v.seen[number] = true
}

// serve answers a request.
func (m *mixture) serve(w server.Reply, line string) {
	number, kind, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		m.t.Errorf("the request is %q", line)
	}
	w.Conn().Value().(*served).once(m.t, n)
	m.ran.Add(1)
	size := 0
	switch kind {
	case wayQuick:
		if m.slowPhase.Load() && rand.IntN(20) == 0 {
			time.Sleep(time.Millisecond)
		}
	case waySleep:
		time.Sleep(time.Duration(rand.IntN(20000)) * time.Microsecond)
	case wayCompute:
		for begin := time.Now(); time.Since(begin) < 10*time.Millisecond; {
		}
	case wayYield:
		w.Blocking()
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
	case wayElsewhere:
		done, blocking := make(chan struct{}), rand.IntN(2) == 0
		go func() {
			if blocking {
				w.Blocking()
			}
			close(done)
		}()
		<-done
	case wayLong:
		size = rand.IntN(100 << 10)
	case waySwitch:
		_ = w.Conn().SetHandler(m.handlers[rand.IntN(len(m.handlers))]) // refuses only what is no handler
	case wayPanic, wayExit:
		m.ended.Add(1)
		if rand.IntN(2) == 0 {
			w.Blocking()
		}
		if kind == wayPanic {
			panic("chaos")
		}
		runtime.Goexit()
	}
	_, err = fmt.Fprintf(w, "%d %d\n", n, size)
	if err == nil && size > 0 {
		_, err = w.Write(bytes.Repeat([]byte{'x'}, size))
	}
	if err != nil {
		m.t.Errorf("the answer to request %d: %v", n, err)
	}
}

// client makes connections until no request is left.
func (m *mixture) client() {
	for m.left.Load() > 0 && !m.t.Failed() {
		nc := m.s.dial(m.t)
		if err := m.connection(nc); err != nil {
			m.t.Error(err)
		}
		_ = nc.Close()
	}
}

// connection sends requests, many at once, and checks the answers. The last request may end the connection.
func (m *mixture) connection(nc net.Conn) error {
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	answers := bufio.NewReaderSize(nc, 64<<10)
	number := 0
	for range 1 + r.IntN(40) {
		n := 1 + r.IntN([]int{1, 10, 200}[r.IntN(3)])
		var burst bytes.Buffer
		for i := range n {
			fmt.Fprintf(&burst, "%d %s\n", number+i, chooseKind(r, m.quickShare))
		}
		if m.left.Add(int64(-n)) <= int64(-n) {
			return nil
		}
		if err := nc.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
			return err
		}
		sent := make(chan error, 1)
		go func() { _, err := nc.Write(burst.Bytes()); sent <- err }()
		for range n {
			if err := checkAnswer(answers, number); err != nil {
				return err
			}
			m.answered.Add(1)
			number++
		}
		if err := <-sent; err != nil {
			return err
		}
	}
	if r.IntN(4) > 0 {
		return nil
	}
	m.cut.Add(1)
	kind := []string{wayPanic, wayExit}[r.IntN(2)]
	if _, err := fmt.Fprintf(nc, "%d %s\n", number, kind); err != nil {
		return err
	}
	if rest, _ := io.ReadAll(answers); len(rest) > 0 { // the end, or a reset
		return fmt.Errorf("%q is sent after the end of a handler's goroutine", rest)
	}
	return nil
}

// checkAnswer reads an answer, which must be the one to request number.
func checkAnswer(answers *bufio.Reader, number int) error {
	line, err := answers.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the answer to request %d: %q, %w", number, line, err)
	}
	var got, size int
	if _, err := fmt.Sscanf(line, "%d %d\n", &got, &size); err != nil || got != number {
		return fmt.Errorf("the answer to request %d: %q", number, line)
	}
	rest := make([]byte, size)
	if _, err := io.ReadFull(answers, rest); err != nil || bytes.Count(rest, []byte{'x'}) != size {
		return fmt.Errorf("the answer to request %d of %d bytes: %.20q, %w", number, size, rest, err)
	}
	return nil
}

// changePhases makes the quick requests slow for a time, again and again, until stop is closed: their route leaves the loops and returns.
func (m *mixture) changePhases(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
			m.slowPhase.Store(rand.IntN(3) == 0)
		}
	}
}

// requestsInChaos returns the number of requests: EVMQ_REQUESTS, or one that depends on testkit.Full.
func requestsInChaos(t *testing.T) int64 {
	if v := os.Getenv("EVMQ_REQUESTS"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		testkit.Must(t, err)
		return n
	}
	if testkit.Full() {
		return 1_000_000
	}
	return 20_000
}

// Handlers block, compute, panic, call runtime.Goexit and Blocking, and write long answers, at random, on several loops, while the placements of
// connections change. Each request is served once and its answer comes in its place. EVMQ_REQUESTS sets the number of requests.
func TestEachRequestIsAnsweredOnceWhilePlacementsChange(t *testing.T) {
	requests := requestsInChaos(t)
	m := &mixture{t: t, quickShare: 300}
	if requests >= 1_000_000 {
		m.quickShare = 3000
	}
	m.left.Store(requests)
	var closed atomic.Int64
	for i := range 2 * len(placements) {
		d := placed(placements[i/2], nil)
		d.Serve = func(w server.Reply, line []byte) { m.serve(w, string(line)) }
		d.Route = func(message []byte) []byte { return message[len(message)-1:] }
		d.Opened = func(c *server.Conn) { c.SetValue(&served{seen: map[int]bool{}}) }
		d.Closed = func(*server.Conn, error) { closed.Add(1) }
		if i%2 == 1 {
			d.Concurrent = 4
		}
		m.handlers = append(m.handlers, d)
	}
	m.s = start(t, rig{"tcp", false, 3}, &server.Server{Workers: 4, Handler: m.handlers[0], OnPanic: func(_ *server.Conn, v any, stack []byte) {
		if v != "chaos" {
			t.Errorf("panic: %v\n%s", v, stack)
		}
	}})
	stop := make(chan struct{})
	var clients, phases sync.WaitGroup
	phases.Go(func() { m.changePhases(stop) })
	for range 24 {
		clients.Go(func() { m.client() })
	}
	clients.Wait()
	close(stop)
	phases.Wait()
	m.s.shutdown(t)
	m.s.drained(t)
	if m.answered.Load() < requests || m.ran.Load() != m.answered.Load()+m.ended.Load() || m.ended.Load() != m.cut.Load() {
		t.Errorf("%d requests served, %d answered, %d sent; %d of %d have ended their goroutine", m.ran.Load(), m.answered.Load(), requests, m.ended.Load(), m.cut.Load())
	}
	st := m.s.Stats()
	if st.Requests != uint64(m.answered.Load()) || closed.Load() != int64(st.Opened) || st.RunningRequests != 0 || st.QueuedRequests != 0 {
		t.Errorf("%d requests counted, %d closed: %+v", st.Requests, closed.Load(), st)
	}
	sum := m.s.routes()
	t.Logf("%d requests: %v", m.answered.Load(), sum)
	if leadersRun() && (sum.Inline == 0 || sum.OnWorkers == 0 || sum.TakenOver == 0 || sum.Stalls == 0 && requests >= 1_000_000) {
		t.Errorf("not all ways were used: %v", sum)
	}
}
