package server_test

import (
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// slowLog is the output of a logger.
type slowLog struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *slowLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// slow returns the lines about slow handlers.
func (l *slowLog) slow() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, "slow handler") {
			lines = append(lines, line)
		}
	}
	return lines
}

// slowRoutes is a Dispatcher with one route for each line, whose name says what its handler does. The first request of a route runs on the loop.
func slowRoutes(takes time.Duration, h *holder) *server.Dispatcher {
	d := placed(server.Adaptive, func(w server.Reply, line string) string {
		switch line {
		case "slow":
			time.Sleep(takes)
		case "panics":
			time.Sleep(takes)
			panic(line)
		case "yields":
			release := server.HoldLeaders() // the loop waits for its next leader, as on a busy machine
			w.Blocking()
			time.Sleep(takes)
			release()
		case "held":
			time.Sleep(takes)
			h.begun <- true
			<-h.release
		}
		return line
	})
	d.Route = func(message []byte) []byte { return message }
	return d
}

// The logger of the loop is given its type and its route. A handler that loses the loop is logged then, and not when it has returned. One that
// calls Blocking has the loop only until then.
func TestASlowHandlerOnALoopIsLogged(t *testing.T) {
	needsLeaders(t)
	eachOf(t, rigs()[:1], func(t *testing.T, r rig) {
		const threshold = 100 * time.Millisecond
		var log slowLog
		h := newHolder(server.OnLoop)
		s := start(t, r, &server.Server{NumLoops: 1, Handler: slowRoutes(threshold+time.Millisecond, h), OnPanic: func(*server.Conn, any, []byte) {},
			LoopConfig: &event.Config{SlowCallback: threshold, Logger: slog.New(slog.NewTextHandler(&log, nil))}})
		server.StopTicks(s.Server)
		lines := 0
		want := func(route, continues string) {
			t.Helper()
			lines++
			testkit.Until(t, "the log of "+route, func() bool { return len(log.slow()) == lines })
			got := log.slow()[lines-1]
			for _, text := range []string{"loop=0", "Dispatcher", "route=" + route, "threshold=100ms", "continues=" + continues} {
				if !strings.Contains(got, text) {
					t.Errorf("%s is not in the log: %s", text, got)
				}
			}
			_, after, _ := strings.Cut(got, "took=")
			text, _, _ := strings.Cut(after, " ")
			if took, err := time.ParseDuration(text); err != nil || took <= threshold {
				t.Errorf("it took %q, %v: %s", text, err, got)
			}
		}
		nc, bad := s.dial(t), s.dial(t)
		send(t, nc, "slow\n")
		expect(t, nc, "slow\n")
		want("slow", "false")
		send(t, bad, "panics\n")
		want("panics", "false")
		send(t, nc, "yields\n")
		expect(t, nc, "yields\n")
		send(t, nc, "held\n")
		testkit.Await(t, h.begun, "the handler")
		server.Tick(s.Server, false)
		server.Tick(s.Server, false)
		want("held", "true")
		close(h.release)
		expect(t, nc, "held\n")
		for _, st := range s.RouteStats() {
			measured := st.Key == "slow" || st.Key == "panics" || st.Key == "held"
			if measured != (st.LongestHandler > threshold) {
				t.Errorf("the longest time that a handler has had the loop, of route %s: %v", st.Key, st.LongestHandler)
			}
		}
		hangUp(nc, bad)
		s.shutdown(t)
		if got := log.slow(); len(got) != lines {
			t.Errorf("%d lines in the log, want %d: %s", len(got), lines, got)
		}
	})
}

// Nothing is logged without SlowCallback, nor below the threshold.
func TestAHandlerBelowTheThresholdIsNotLogged(t *testing.T) {
	needsLeaders(t)
	for _, threshold := range []time.Duration{0, -1, time.Hour} {
		var log slowLog
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: slowRoutes(5*time.Millisecond, nil),
			LoopConfig: &event.Config{SlowCallback: threshold}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		nc := s.dial(t)
		send(t, nc, "slow\nquick\n")
		expect(t, nc, "slow\nquick\n")
		hangUp(nc)
		s.shutdown(t)
		if got := log.slow(); len(got) > 0 {
			t.Errorf("with a threshold of %v: %s", threshold, got)
		}
	}
}

// exitingLog is the output of a logger that calls runtime.Goexit.
type exitingLog struct{}

func (exitingLog) Write([]byte) (int, error) {
	runtime.Goexit()
	return 0, nil
}

// The logger calls runtime.Goexit. The connection of the handler may end by that, and the loop continues.
func TestALoggerMayEndTheLeadersGoroutine(t *testing.T) {
	needsLeaders(t)
	h := newHolder(server.OnLoop)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Workers: 2, Handler: slowRoutes(2*time.Millisecond, h),
		LoopConfig: &event.Config{SlowCallback: time.Millisecond, Logger: slog.New(slog.NewTextHandler(exitingLog{}, nil))}})
	server.StopTicks(s.Server)
	for range 3 {
		nc := s.dial(t)
		send(t, nc, "slow\n")
		_, _ = nc.Read(make([]byte, 10)) // the answer, or the end
		hangUp(nc)
	}
	nc := s.dial(t)
	send(t, nc, "held\n")
	testkit.Await(t, h.begun, "the handler")
	server.Tick(s.Server, false)
	server.Tick(s.Server, false)
	checkLoop(t, s.Loops()[0])
	close(h.release)
	expect(t, nc, "held\n")
	hangUp(nc)
	s.shutdown(t)
	s.drained(t)
}
