package event_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// logTo returns a logger and the buffer that it writes to.
func logTo() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

func slowFunction(clock *testkit.Clock) func() {
	return func() { clock.Advance(20 * time.Millisecond) }
}

// The slow callback is named to the logger: by its own name, or by its function; each function that Post was given for
// itself, and not the batch.
func TestSlowCallbackIsNamed(t *testing.T) {
	clock := testkit.NewClock()
	logger, log := logTo()
	l := testkit.NewLoop(t, &event.Config{Clock: clock, Logger: logger, SlowCallback: 10 * time.Millisecond})
	named := userEvent(t, l, 0, func() { clock.Advance(50 * time.Millisecond) })
	named.SetName("the slow one")
	slow := slowFunction(clock)
	call := func(fn func()) string {
		t.Helper()
		log.Reset()
		testkit.Must(t, l.Post(fn))
		turns(t, l, 2)
		return log.String()
	}
	if got := call(func() { clock.Advance(10 * time.Millisecond) }); got != "" {
		t.Errorf("within the limit, but logged: %s", got)
	}
	if got := call(slow); !strings.Contains(got, "slowFunction") || !strings.Contains(got, "20ms") {
		t.Errorf("logged: %s", got)
	}
	wantLongest(t, l, 20*time.Millisecond, "slowFunction")

	log.Reset()
	testkit.Must(t, named.Activate(0))
	turns(t, l, 1)
	if got := log.String(); !strings.Contains(got, "the slow one") || !strings.Contains(got, "50ms") {
		t.Errorf("logged: %s", got)
	}
	wantLongest(t, l, 50*time.Millisecond, "the slow one")

	call(slow)
	wantLongest(t, l, 50*time.Millisecond, "the slow one") // the longest stays

	l.ResetMax()
	wantLongest(t, l, 0, "")
	for range 5 {
		testkit.Must(t, l.Post(slow))
	}
	turns(t, l, 1)
	wantLongest(t, l, 20*time.Millisecond, "slowFunction")

	l.ResetMax()
	log.Reset()
	_, err := l.AfterFunc(0, slow)
	testkit.Must(t, err)
	w := onPrepare(t, l, slow)
	turns(t, l, 1)
	w.Stop()
	if n := strings.Count(log.String(), "slowFunction"); n != 2 {
		t.Errorf("a timer and a watcher were slow, and %d were named: %s", n, log)
	}
	wantLongest(t, l, 20*time.Millisecond, "slowFunction")
}

func wantLongest(t *testing.T, l *event.Loop, d time.Duration, name string) {
	t.Helper()
	if s := l.Stats(); s.LongestCallback != d || !strings.Contains(s.LongestName, name) || (name == "") != (s.LongestName == "") {
		t.Errorf("the longest callback is %v of %q, want %v of %q", s.LongestCallback, s.LongestName, d, name)
	}
}

func TestPanicOfASlowCallbackIsTimed(t *testing.T) {
	clock := testkit.NewClock()
	logger, log := logTo()
	panics := 0
	l := testkit.NewLoop(t, &event.Config{Clock: clock, Logger: logger, SlowCallback: 10 * time.Millisecond, PanicHandler: func(any, []byte) { panics++ }})
	testkit.Must(t, l.Post(func() {
		clock.Advance(20 * time.Millisecond)
		panic("slow")
	}))
	turns(t, l, 1)
	testkit.WantEqual(t, "panics", panics, 1)
	testkit.WantEqual(t, "longest", l.Stats().LongestCallback, 20*time.Millisecond)
	if !strings.Contains(log.String(), "20ms") {
		t.Errorf("logged: %s", log)
	}
}

// Lag is how late a timeout was seen: its due time against the turn's clock.
func TestLagIsMeasured(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	e := userEvent(t, l, event.Persist, func() {})
	testkit.Must(t, e.Add(10*time.Millisecond))
	for _, step := range []struct{ pass, lag, longest time.Duration }{
		{10 * time.Millisecond, 0, 0},
		{13 * time.Millisecond, 3 * time.Millisecond, 3 * time.Millisecond}, // due at 20
		{8 * time.Millisecond, 1 * time.Millisecond, 3 * time.Millisecond},  // due at 30
		{5 * time.Millisecond, 1 * time.Millisecond, 3 * time.Millisecond},  // not due
		{44 * time.Millisecond, 40 * time.Millisecond, 40 * time.Millisecond},
	} {
		clock.Advance(step.pass)
		turns(t, l, 1)
		if s := l.Stats(); s.Lag != step.lag || s.MaxLag != step.longest {
			t.Errorf("at %v: lag %v, longest %v; want %v, %v", clock.Now(), s.Lag, s.MaxLag, step.lag, step.longest)
		}
	}
	l.ResetMax()
	testkit.WantEqual(t, "longest lag", l.Stats().MaxLag, 0)
	testkit.WantEqual(t, "timeouts", l.Stats().Timeouts, 4)
}

// A poller that a loop cannot park on: it has no descriptor, or one that the runtime cannot watch.
func TestDriverFallsBackToAThread(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "regular"))
	testkit.Must(t, err)
	defer file.Close()
	closed, peer := rawPair(t)
	closeRaw(t, closed, peer)
	for name, fd := range map[string]int{"no descriptor": -1, "regular file": fdOf(t, file), "closed": closed} {
		t.Run(name, func(t *testing.T) {
			p := newScriptPoller()
			p.fd = fd
			l := testkit.NewLoop(t, &event.Config{IgnoreEnv: true, OpenPoller: p.open})
			testkit.WantEqual(t, "driver", l.Driver(), event.DriverThread)
			testkit.WantEqual(t, "backend", l.Backend(), "script")
			testkit.Background(t, l)
			testkit.Until(t, "sleep", p.asleep)
			ran := make(chan struct{})
			testkit.Must(t, l.Post(func() { close(ran) }))
			testkit.Await(t, ran, "post")
			testkit.Must(t, l.Close())
			testkit.WantEqual(t, "poller closed", p.closed, true)

			p = newScriptPoller()
			p.fd = fd
			_, err := event.NewLoop(&event.Config{OpenPoller: p.open, Driver: event.DriverPark})
			if err == nil {
				t.Fatal("parked on a poller that cannot be parked on")
			}
			if name != "closed" { // that is the system's own error
				testkit.WantErr(t, err, event.ErrUnsupported)
			}
			testkit.WantEqual(t, "poller closed", p.closed, true)
		})
	}
	_, err = event.NewLoop(&event.Config{Backend: event.BackendPoll, Driver: event.DriverPark})
	testkit.WantErr(t, err, event.ErrUnsupported)
}

// With a user's poller and clock a loop runs step by step, without a socket and without waiting.
func TestLoopIsSteppedWithoutSockets(t *testing.T) {
	p, clock := newScriptPoller(), testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{OpenPoller: p.open, Driver: event.DriverThread, Clock: clock})
	var seen []string
	conn := eventFor(t, l, 7, event.Read|event.Persist, func(e *event.Event, what event.Flags) {
		seen = append(seen, what.String())
		if what&event.Timeout != 0 {
			testkit.Must(t, e.Del())
		}
	})
	testkit.Must(t, conn.Add(time.Minute))
	step := func(pass time.Duration, want ...string) {
		t.Helper()
		clock.Advance(pass)
		seen = nil
		turns(t, l, 1)
		wantOrder(t, seen, want...)
	}
	step(0)
	p.report(7, event.Read)
	step(0, "Read")
	step(59 * time.Second)
	p.report(7, event.Read)
	step(0, "Read") // the idle timeout begins anew
	step(59 * time.Second)
	step(time.Second, "Timeout")
	step(time.Hour)
	testkit.WantEqual(t, "added", l.Stats().Added, 0)

	// A sleep ends when the clock is moved.
	fired := make(chan time.Duration, 1)
	_, err := l.AfterFunc(time.Hour, func() { fired <- l.Now() })
	testkit.Must(t, err)
	due := clock.Now() + time.Hour
	testkit.Background(t, l)
	clock.AwaitTimer(t, due)
	clock.Advance(time.Hour)
	testkit.WantEqual(t, "time of the call", testkit.Await(t, fired, "timer"), due)
}

// With a user's clock a sleep ends at its deadline with every built-in backend.
func TestSleepFollowsTheLoopsClock(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	fired := make(chan time.Duration)
	e := userEvent(t, l, event.Persist, func() { fired <- l.Now() })
	testkit.Must(t, e.Add(time.Hour))
	testkit.Background(t, l)
	for i := range 5 {
		due := time.Duration(i+1) * time.Hour
		clock.AwaitTimer(t, due)
		clock.Advance(time.Hour)
		testkit.WantEqual(t, "time of the call", testkit.Await(t, fired, "ticker"), due)
	}
	testkit.Must(t, e.Del())
}
