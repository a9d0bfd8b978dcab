package event_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// sharedLog is a log that any goroutine may read.
type sharedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sharedLog) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sharedLog) lines(with string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), with)
}

func (s *sharedLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

// goStale has an event of l end because its descriptor was closed before Del.
func goStale(t testing.TB, l *event.Loop) {
	t.Helper()
	var p [2]int
	testkit.Must(t, unix.Pipe(p[:]))
	fd := privateDup(t, p[0])
	e := eventFor(t, l, fd, event.Read, func(*event.Event, event.Flags) {})
	testkit.Must(t, e.Add(event.NoTimeout))
	closeRaw(t, fd)
	testkit.WantErr(t, e.Del(), event.ErrStale)
	closeRaw(t, p[:]...)
}

// staleLoop makes a loop whose backend detects stale descriptors.
func staleLoop(t *testing.T, logger *slog.Logger) *event.Loop {
	t.Helper()
	l := testkit.NewLoop(t, &event.Config{Logger: logger})
	if !l.Features().Has(event.FeatureStale) {
		t.Skip("the backend cannot tell")
	}
	return l
}

// A stale descriptor that is found while the loop sleeps is logged at once, without any other work for the loop.
func TestStaleDescriptorFoundBesideASleepingLoopIsLogged(t *testing.T) {
	var log sharedLog
	l := staleLoop(t, log.logger())
	testkit.Must(t, silent(t, l, -1, 0).Add(time.Hour)) // or the end of the last event would wake the loop
	testkit.Background(t, l)
	for n := range 20 {
		letSleep(t, l)
		goStale(t, l)
		testkit.Until(t, "log line", func() bool { return log.lines("closed before Del") == n+1 })
	}
}

// The last event of a loop may be found stale: the line is written before Run returns.
func TestStaleDescriptorThatEndsARunIsLogged(t *testing.T) {
	var log sharedLog
	l := staleLoop(t, log.logger())
	goStale(t, l)
	testkit.Run(t, l)
	testkit.WantEqual(t, "log lines", log.lines("closed before Del"), 1)
}

// The records that wait for a loop that does not run are bounded; the loop logs how many it has dropped.
func TestPendingLogIsBounded(t *testing.T) {
	var log sharedLog
	l := staleLoop(t, log.logger())
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const n = 10000
	goStale(t, l)
	before := heap()
	for range n - 1 {
		goStale(t, l)
	}
	if grown := heap() - before; grown > 256<<10 {
		t.Errorf("%d bytes kept for %d stale descriptors", grown, n)
	}
	turns(t, l, 2)
	written := log.lines("closed before Del")
	if written == 0 || written > 1000 {
		t.Errorf("%d lines of %d", written, n)
	}
	testkit.WantEqual(t, "lines that say how many were dropped", log.lines("records="), 1)
	testkit.WantEqual(t, "stale", l.Stats().Stale, n)
}

// faultyLog is a log of which the first line ends as end does.
type faultyLog struct {
	io.Writer
	end func()
}

func (f *faultyLog) Write(p []byte) (int, error) {
	if end := f.end; end != nil {
		f.end = nil
		end()
	}
	return f.Writer.Write(p)
}

// A logger that panics, or ends its goroutine, loses the line that it was given and none of the others, nor their number.
func TestPanicOfALoggerLosesOneRecord(t *testing.T) {
	for ending, end := range endings {
		for _, n := range []int{1, 3, 100} {
			t.Run(fmt.Sprintf("%s, %d lines", ending, n), func(t *testing.T) {
				var log sharedLog
				l := staleLoop(t, slog.New(slog.NewTextHandler(&faultyLog{&log, end}, nil)))
				for range n {
					goStale(t, l)
				}
				apart(t, "the faulty line", func() { _ = l.RunNonblock() })
				turns(t, l, 2)
				const limit = 64
				testkit.WantEqual(t, "lines", log.lines("closed before Del"), min(n, limit)-1)
				testkit.WantEqual(t, "lines that say how many were dropped", log.lines(fmt.Sprintf("records=%d", n-limit)), max(0, min(1, n-limit)))
			})
		}
	}
}
