package event_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
)

// endlessWork lists callers that always have more work.
var endlessWork = map[string]func(t *testing.T, l *event.Loop){
	"posts": func(t *testing.T, l *event.Loop) {
		for range 3 {
			var fn func()
			fn = func() { _ = l.Post(fn) } // refused when the loop closes
			must(t, l.Post(fn))
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
		must(t, l.Post(fn))
	},
	"activations": func(t *testing.T, l *event.Loop) {
		e := eventFor(t, l, -1, 0, func(e *event.Event, _ event.Flags) { must(t, e.Activate(0)) })
		must(t, e.Activate(0))
	},
	"timers": func(t *testing.T, l *event.Loop) {
		for range 2000 {
			e := eventFor(t, l, -1, 0, func(e *event.Event, _ event.Flags) { must(t, e.Add(0)) })
			must(t, e.Add(0))
		}
	},
	"descriptors": func(t *testing.T, l *event.Loop) {
		for range 50 {
			must(t, eventFor(t, l, readable(t), event.Read|event.Persist, func(*event.Event, event.Flags) {}).Add(event.NoTimeout))
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
				l := newLoop(t, cfg)
				served := make(chan string, 64)
				fd, peer := idlePair(t)
				must(t, eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) {
					var b [1]byte
					_, _ = unix.Read(fd, b[:])
					served <- "descriptor"
				}).Add(event.NoTimeout))
				newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) { served <- "signal" })
				user := userEvent(t, l, 0, func() { served <- "activation" })
				work(t, l)
				background(t, l)
				for range 5 {
					for what, do := range map[string]func(){
						"descriptor": func() { send(t, peer, "x") },
						"signal":     func() { raise(t, syscall.SIGUSR1) },
						"activation": func() { must(t, user.Activate(0)) },
						"post":       func() { must(t, l.Post(func() { served <- "post" })) },
						"timer": func() {
							_, err := l.AfterFunc(time.Millisecond, func() { served <- "timer" })
							must(t, err)
						},
					} {
						do()
						wantEqual(t, "served", await(t, served, what), what)
					}
				}
				stopped := make(chan struct{})
				go func() { l.Break(); close(stopped) }()
				await(t, stopped, "Break")
			})
		}
	}
}

// A loop that others flood with posts is not late for its timers for ever, and no timer is early.
func TestFloodOfPostsDelaysTimersByTurnsOnly(t *testing.T) {
	l := newLoop(t, &event.Config{PostLimit: 1000, Budget: event.Budget{Callbacks: 10}})
	background(t, l)
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
		must(t, err)
		if at := await(t, fired, "timer"); at.Sub(begun) < time.Millisecond {
			t.Errorf("a timer of 1ms ran after %v", at.Sub(begun))
		}
	}
	over.Store(true)
	await(t, flooded, "end of the flood")
}

// The limit of waiting posts is exact: what it accepts it has room for, and it never refuses below.
func TestPostLimitIsExact(t *testing.T) {
	const limit = 100
	l := newLoop(t, &event.Config{PostLimit: limit})
	called := 0
	for range 3 {
		for range limit {
			must(t, l.Post(func() { called++ }))
		}
		wantErr(t, l.Post(func() { t.Error("a refused post was called") }), event.ErrFull)
		wantEqual(t, "waiting", l.Stats().PendingPosts, limit)
		run(t, l)
		wantEqual(t, "waiting", l.Stats().PendingPosts, 0)
	}
	wantEqual(t, "called", called, 3*limit)

	// A post that is being called does not count any more.
	must(t, l.Post(func() {
		for range limit {
			must(t, l.Post(func() { called++ }))
		}
		wantErr(t, l.Post(func() {}), event.ErrFull)
	}))
	run(t, l)
	wantEqual(t, "called", called, 4*limit)
}

// An edge is reported once: without new data there is no second report, with new data there is, and a callback that leaves data
// can call Activate to be called again.
func TestEdgeIsReportedOnce(t *testing.T) {
	l := newLoop(t, nil)
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
	must(t, e.Add(event.NoTimeout))
	send(t, peer, "x")
	turns(t, l, 3)
	wantEqual(t, "calls", calls, 1)
	wantEqual(t, "told", told, event.Read|event.EdgeTriggered)
	send(t, peer, "y")
	turns(t, l, 3)
	wantEqual(t, "calls after new data", calls, 2)
	must(t, e.Activate(event.Read))
	turns(t, l, 3)
	wantEqual(t, "calls after Activate", calls, 3)
	if s, err := receive(fd); s != "xy" || err != nil {
		t.Errorf("read %q, %v", s, err)
	}
}
