package event_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// held is an event whose callback signals that it runs, waits to be released, and then calls again.
type held struct {
	e       *event.Event
	running chan struct{}
	letGo   chan struct{}
	again   func(e *event.Event)
}

func newHeld(t testing.TB, l *event.Loop, fd int, flags event.Flags, again func(e *event.Event)) *held {
	h := &held{running: make(chan struct{}, 64), letGo: make(chan struct{}), again: again}
	h.e = eventFor(t, l, fd, flags, func(e *event.Event, _ event.Flags) {
		h.running <- struct{}{}
		<-h.letGo
		h.again(e)
	})
	return h
}

// addsAgain are the ways in which a callback can keep its event going.
func addsAgain(t testing.TB) map[string]func(e *event.Event) {
	return map[string]func(e *event.Event){
		"nothing":      func(*event.Event) {},
		"Add":          func(e *event.Event) { testkit.Must(t, e.Add(event.NoTimeout)) },
		"Add(0)":       func(e *event.Event) { testkit.Must(t, e.Add(0)) },
		"Activate":     func(e *event.Event) { testkit.Must(t, e.Activate(0)) },
		"both":         func(e *event.Event) { testkit.Must(t, e.Add(0)); testkit.Must(t, e.Activate(event.Read)) },
		"Del, and Add": func(e *event.Event) { testkit.Must(t, e.Del()); testkit.Must(t, e.Add(time.Nanosecond)) },
	}
}

// When DelWait returns, the event is removed even if its callback has added or activated it again, and its callback does not run
// again.
func TestDelWaitPrevailsOverACallbackThatAddsItsEventAgain(t *testing.T) {
	for name, again := range addsAgain(t) {
		for kind, make := range map[string]func(l *event.Loop) (int, event.Flags){
			"user":            func(*event.Loop) (int, event.Flags) { return -1, 0 },
			"persistent":      func(*event.Loop) (int, event.Flags) { return -1, event.Persist },
			"descriptor":      func(*event.Loop) (int, event.Flags) { return readable(t), event.Read },
			"signal":          func(*event.Loop) (int, event.Flags) { return int(syscall.SIGUSR2), event.Signal | event.Persist },
			"one-shot signal": func(*event.Loop) (int, event.Flags) { return int(syscall.SIGUSR2), event.Signal },
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				l := testkit.NewLoop(t, nil)
				testkit.Background(t, l)
				fd, flags := make(l)
				h := newHeld(t, l, fd, flags, again)
				testkit.Must(t, h.e.Add(event.NoTimeout))
				testkit.Must(t, h.e.Activate(0))
				testkit.Await(t, h.running, "callback")
				var over [2]chan error
				for i := range over { // both see the same callback return
					over[i] = newOutcome(func() error { return h.e.DelWait(t.Context()) })
				}
				testkit.Until(t, "both waits", func() bool { return event.DelWaits(l) == len(over) })
				testkit.WantEqual(t, "added meanwhile", h.e.Added(), false)
				close(h.letGo)
				for _, ch := range over {
					testkit.Must(t, testkit.Await(t, ch, "end of DelWait"))
				}
				testkit.WantEqual(t, "added", h.e.Added(), false)
				testkit.WantEqual(t, "pending", h.e.Pending(), 0)
				letSleep(t, l)
				testkit.WantEqual(t, "calls afterwards", len(h.running), 0)
			})
		}
	}
}

func newOutcome(fn func() error) chan error {
	ch := make(chan error, 1)
	go func() { ch <- fn() }()
	return ch
}

// A DelWait that has given up removes nothing any more: what the callback adds stays added.
func TestDelWaitThatHasEndedLeavesTheEventToItsCallback(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	h := newHeld(t, l, -1, 0, func(e *event.Event) { testkit.Must(t, e.Add(event.NoTimeout)) })
	testkit.Must(t, h.e.Activate(0))
	testkit.Await(t, h.running, "callback")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	testkit.WantErr(t, h.e.DelWait(ended), context.Canceled)
	close(h.letGo)
	testkit.Until(t, "Add by the callback", h.e.Added)
	testkit.Must(t, h.e.DelWait(t.Context()))
	testkit.WantEqual(t, "added", h.e.Added(), false)
}

// The signal of an event that DelWait removed has its former disposition when DelWait returns, although the callback had added
// the event again.
func TestDelWaitLetsASignalGoThatItsCallbackAddedAgain(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	h := newHeld(t, l, int(syscall.SIGWINCH), event.Signal, func(e *event.Event) { testkit.Must(t, e.Add(event.NoTimeout)) })
	testkit.Must(t, h.e.Activate(0))
	testkit.Await(t, h.running, "callback")
	over := newOutcome(func() error { return h.e.DelWait(t.Context()) })
	testkit.Until(t, "the wait", func() bool { return event.DelWaits(l) == 1 })
	close(h.letGo)
	testkit.Must(t, testkit.Await(t, over, "end of DelWait"))
	raise(t, syscall.SIGWINCH)
	letSleep(t, l)
	testkit.WantEqual(t, "calls", len(h.running), 0)
	testkit.WantEqual(t, "added events", l.Stats().Added, 0)
}

// DelWait says that the descriptor was closed, whether its first removal or the one after the callback finds it so.
func TestDelWaitReturnsStaleAfterTheCallback(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureStale) {
		t.Skip("the backend cannot tell")
	}
	testkit.Background(t, l)
	_, _, file, _ := pair(t)
	fd := privateDup(t, file)
	h := newHeld(t, l, fd, event.Write, func(e *event.Event) {
		testkit.Must(t, e.Add(event.NoTimeout))
		testkit.Must(t, unix.Close(fd))
	})
	testkit.Must(t, h.e.Add(event.NoTimeout))
	testkit.Await(t, h.running, "callback")
	over := newOutcome(func() error { return h.e.DelWait(t.Context()) })
	testkit.Until(t, "the wait", func() bool { return event.DelWaits(l) == 1 })
	close(h.letGo)
	testkit.WantErr(t, testkit.Await(t, over, "end of DelWait"), event.ErrStale)
}

// Callbacks of two loops that wait for each other's events wait until a context ends; then both loops continue.
func TestTwoLoopsThatDelWaitForEachOtherEndWithTheirContexts(t *testing.T) {
	a, b := testkit.NewLoop(t, nil), testkit.NewLoop(t, nil)
	testkit.Background(t, a)
	testkit.Background(t, b)
	ctx, cancel := context.WithCancel(context.Background())
	var x, y *event.Event
	both, results := make(chan struct{}), make(chan error, 2)
	meet := make(chan struct{}, 2)
	x = userEvent(t, a, event.Persist, func() {
		meet <- struct{}{}
		<-both
		results <- y.DelWait(ctx)
	})
	y = userEvent(t, b, event.Persist, func() {
		meet <- struct{}{}
		<-both
		results <- x.DelWait(ctx)
	})
	testkit.Must(t, x.Activate(0))
	testkit.Must(t, y.Activate(0))
	testkit.Await(t, meet, "first callback")
	testkit.Await(t, meet, "second callback")
	close(both)
	select {
	case err := <-results:
		t.Fatalf("a DelWait did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	failed := 0
	for range 2 {
		if err := testkit.Await(t, results, "end of DelWait"); err != nil {
			testkit.WantErr(t, err, context.Canceled)
			failed++
		}
	}
	if failed == 0 {
		t.Error("neither DelWait was ended by the context")
	}
	letSleep(t, a)
	letSleep(t, b)
}
