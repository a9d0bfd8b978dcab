package event_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// endlessWork lists callers that always have more work.
var endlessWork = map[string]func(t *testing.T, l *event.Loop){
	"posts": func(t *testing.T, l *event.Loop) {
		for range 3 {
			var fn func()
			fn = func() { _ = l.Post(fn) } // refused when the loop closes
			testkit.Must(t, l.Post(fn))
		}
	},
	"posts that double": func(t *testing.T, l *event.Loop) {
		var fn func()
		fn = func() {
			if l.Stats().PendingPosts < 1000 {
				_ = l.Post(fn)
			}
			_ = l.Post(fn)
		}
		testkit.Must(t, l.Post(fn))
	},
	"activations": func(t *testing.T, l *event.Loop) {
		e := eventFor(t, l, -1, 0, func(e *event.Event, _ event.Flags) { testkit.Must(t, e.Activate(0)) })
		testkit.Must(t, e.Activate(0))
	},
	"timers": func(t *testing.T, l *event.Loop) {
		for range 2000 {
			e := eventFor(t, l, -1, 0, func(e *event.Event, _ event.Flags) { testkit.Must(t, e.Add(0)) })
			testkit.Must(t, e.Add(0))
		}
	},
	"descriptors": func(t *testing.T, l *event.Loop) {
		for range 50 {
			testkit.Must(t, eventFor(t, l, readable(t), event.Read|event.Persist, func(*event.Event, event.Flags) {}).Add(event.NoTimeout))
		}
	},
}

// If any kind of event keeps the loop busy without end, a descriptor, a timer, a signal, a post and an activation from another
// goroutine are still called.
func TestEndlessWorkDelaysNoOtherEvent(t *testing.T) {
	for name, work := range endlessWork {
		for budget, cfg := range map[string]*event.Config{
			"default": nil,
			"small":   {Budget: event.Budget{Callbacks: 8}},
		} {
			t.Run(name+", budget "+budget, func(t *testing.T) {
				l := testkit.NewLoop(t, cfg)
				served := make(chan string, 64)
				fd, peer := idlePair(t)
				testkit.Must(t, eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) {
					var b [1]byte
					_, _ = unix.Read(fd, b[:])
					served <- "descriptor"
				}).Add(event.NoTimeout))
				newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) { served <- "signal" })
				user := userEvent(t, l, 0, func() { served <- "activation" })
				work(t, l)
				testkit.Background(t, l)
				for range 5 {
					for what, do := range map[string]func(){
						"descriptor": func() { send(t, peer, "x") },
						"signal":     func() { raise(t, syscall.SIGUSR1) },
						"activation": func() { testkit.Must(t, user.Activate(0)) },
						"post":       func() { testkit.Must(t, l.Post(func() { served <- "post" })) },
						"timer": func() {
							_, err := l.AfterFunc(time.Millisecond, func() { served <- "timer" })
							testkit.Must(t, err)
						},
					} {
						do()
						testkit.WantEqual(t, "served", testkit.Await(t, served, what), what)
					}
				}
				stopped := make(chan struct{})
				go func() { l.Break(); close(stopped) }()
				testkit.Await(t, stopped, "Break")
			})
		}
	}
}

// A loop that others flood with posts is not late for its timers for ever, and no timer is early.
func TestFloodOfPostsDelaysTimersByTurnsOnly(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{PostLimit: 1000, Budget: event.Budget{Callbacks: 10}})
	testkit.Background(t, l)
	var over atomic.Bool
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for !over.Load() {
			_ = l.Post(func() {}) // often ErrFull
		}
	}()
	fired := make(chan time.Time, 1)
	for range 20 {
		begun := time.Now()
		_, err := l.AfterFunc(time.Millisecond, func() { fired <- time.Now() })
		testkit.Must(t, err)
		if at := testkit.Await(t, fired, "timer"); at.Sub(begun) < time.Millisecond {
			t.Errorf("a timer of 1ms ran after %v", at.Sub(begun))
		}
	}
	over.Store(true)
	testkit.Await(t, flooded, "end of the flood")
}

// The limit of waiting posts is exact: what it accepts it has room for, and it never refuses below.
func TestPostLimitIsExact(t *testing.T) {
	const limit = 100
	l := testkit.NewLoop(t, &event.Config{PostLimit: limit})
	called := 0
	for range 3 {
		for range limit {
			testkit.Must(t, l.Post(func() { called++ }))
		}
		testkit.WantErr(t, l.Post(func() { t.Error("a refused post was called") }), event.ErrFull)
		testkit.WantEqual(t, "waiting", l.Stats().PendingPosts, limit)
		testkit.Run(t, l)
		testkit.WantEqual(t, "waiting", l.Stats().PendingPosts, 0)
	}
	testkit.WantEqual(t, "called", called, 3*limit)

	// A post that is being called does not count any more.
	testkit.Must(t, l.Post(func() {
		for range limit {
			testkit.Must(t, l.Post(func() { called++ }))
		}
		testkit.WantErr(t, l.Post(func() {}), event.ErrFull)
	}))
	testkit.Run(t, l)
	testkit.WantEqual(t, "called", called, 4*limit)
}

// An edge is reported once: without new data there is no second report, with new data there is, and a callback that leaves data
// can call Activate to be called again.
func TestEdgeIsReportedOnce(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureEdge) {
		t.Skip("the backend knows no edges")
	}
	fd, peer := idlePair(t)
	calls := 0
	told := event.Flags(0)
	e := eventFor(t, l, fd, event.Read|event.Persist|event.EdgeTriggered, func(_ *event.Event, what event.Flags) {
		calls++
		told = what
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	send(t, peer, "x")
	turns(t, l, 3)
	testkit.WantEqual(t, "calls", calls, 1)
	testkit.WantEqual(t, "told", told, event.Read|event.EdgeTriggered)
	send(t, peer, "y")
	turns(t, l, 3)
	testkit.WantEqual(t, "calls after new data", calls, 2)
	testkit.Must(t, e.Activate(event.Read))
	turns(t, l, 3)
	testkit.WantEqual(t, "calls after Activate", calls, 3)
	if s, err := receive(fd); s != "xy" || err != nil {
		t.Errorf("read %q, %v", s, err)
	}
}
