package event_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// An onLoopCheck counts, for each place, the answers of OnLoop.
type onLoopCheck struct {
	l     *event.Loop
	right map[string]int
	wrong map[string]int
}

func newOnLoopCheck() *onLoopCheck {
	return &onLoopCheck{right: map[string]int{}, wrong: map[string]int{}}
}

// at returns a function that asks, with some calls on the stack below it.
func (c *onLoopCheck) at(place string) func() { return func() { c.ask(place, 100) } }

func (c *onLoopCheck) ask(place string, depth int) {
	switch {
	case c.l == nil: // NewLoop has not returned
	case depth > 0:
		c.ask(place, depth-1)
	case c.l.OnLoop():
		c.right[place]++
	default:
		c.wrong[place]++
	}
}

// report checks that OnLoop was asked at each place, and was always true.
func (c *onLoopCheck) report(t *testing.T, places ...string) {
	t.Helper()
	for _, place := range places {
		if c.right[place] == 0 || c.wrong[place] > 0 {
			t.Errorf("%s: OnLoop was true %d times and false %d times", place, c.right[place], c.wrong[place])
		}
	}
}

// An askingContext asks in the methods that the loop calls.
type askingContext struct {
	context.Context
	ask func()
}

func (c askingContext) Err() error {
	c.ask()
	return c.Context.Err()
}

// An askingHandler asks when the loop logs.
type askingHandler struct {
	slog.Handler
	ask func()
}

func (h askingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h askingHandler) Handle(context.Context, slog.Record) error {
	h.ask()
	return nil
}

// OnLoop is true in each function of the program that the loop calls without a lock, in turns, between them and in Close.
func TestOnLoopIsTrueInEveryFunctionThatTheLoopCalls(t *testing.T) {
	c := newOnLoopCheck()
	l, err := event.NewLoop(&event.Config{
		SlowCallback: 1, Logger: slog.New(askingHandler{slog.DiscardHandler, c.at("logger")}),
	})
	testkit.Must(t, err)
	c.l = l
	for place, register := range map[string]func(func()) (*event.Watcher, error){
		"OnPrepare": l.OnPrepare, "OnCheck": l.OnCheck, "OnTurnEnd": l.OnTurnEnd, "OnClose": l.OnClose,
	} {
		_, err := register(c.at(place))
		testkit.Must(t, err)
	}
	testkit.Must(t, l.Post(c.at("post")))
	e := userEvent(t, l, 0, func() {
		time.Sleep(time.Microsecond) // the goroutine may go on on another thread
		c.at("event")()
	})
	testkit.Must(t, e.Activate(0))
	_, err = l.AfterFunc(time.Millisecond, c.at("timer"))
	testkit.Must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	testkit.Must(t, l.Run(askingContext{ctx, c.at("context")}))
	testkit.Must(t, e.Finalize(func(*event.Event) { c.at("finalizer of Close")() }))
	testkit.Must(t, l.Close())
	c.report(t, "logger", "OnPrepare", "OnCheck", "OnTurnEnd", "OnClose", "post", "event", "timer", "context", "finalizer of Close")
}

// An askingPoller asks in Wait.
type askingPoller struct {
	*scriptPoller
	ask func()
}

func (p askingPoller) Wait(ready []event.Ready, timeout time.Duration) (int, error) {
	p.ask()
	return p.scriptPoller.Wait(ready, timeout)
}

// OnLoop is true in Wait of a user's Poller, in which the loop sleeps.
func TestOnLoopIsTrueInWaitOfAUsersPoller(t *testing.T) {
	c := newOnLoopCheck()
	p := askingPoller{newScriptPoller(), c.at("Wait")}
	l := testkit.NewLoop(t, &event.Config{OpenPoller: func() (event.Poller, error) { return p, nil }, Driver: event.DriverThread})
	c.l = l
	stop := testkit.Background(t, l)
	testkit.Until(t, "the loop sleeps", p.asleep)
	stop()
	c.report(t, "Wait")
}

// OnLoop is true in the functions of OnClose also after a wait that a panic of a user's clock has ended, however the loop is run.
func TestOnLoopIsTrueAfterAPanicInTheWait(t *testing.T) {
	panics := func(fn func() error) {
		defer func() { _ = recover() }()
		_ = fn()
		t.Error("there was no panic")
	}
	c := newOnLoopCheck()
	clock := &faultyClock{Clock: testkit.NewClock(), end: func() { panic("as a clock may") }}
	for name, run := range map[string]func(l *event.Loop, owner *event.Owner) error{
		"Run": func(_ *event.Loop, owner *event.Owner) error { return owner.RunForever(context.Background()) },
		"Turn": func(_ *event.Loop, owner *event.Owner) error {
			r, err := owner.Runner()
			testkit.Must(t, err)
			return r.Turn(true)
		},
	} {
		l, err := event.NewLoop(&event.Config{Clock: clock, Driver: event.DriverPark, IgnoreEnv: true}) // not every backend has this driver
		testkit.Must(t, err)
		c.l = l
		owner, err := l.Own()
		testkit.Must(t, err)
		_, err = l.OnClose(c.at(name))
		testkit.Must(t, err)
		_, err = l.AfterFunc(time.Hour, func() {})
		testkit.Must(t, err)
		prepared, err := l.OnPrepare(func() { clock.left.Store(1) }) // the next call is that which makes the clock end the sleep
		testkit.Must(t, err)
		panics(func() error { return run(l, owner) })
		prepared.Stop()
		testkit.Must(t, owner.Close())
	}
	c.report(t, "Run", "Turn")
}

// OnLoop is true for the loop whose callback runs, and for no other one, also if one loop is run in a callback of the other.
func TestOnLoopTellsLoopsOfOneGoroutineApart(t *testing.T) {
	outer, inner, idle := testkit.NewLoop(t, nil), testkit.NewLoop(t, nil), testkit.NewLoop(t, nil)
	var inOuter, inInner [3]bool
	ask := func() [3]bool { return [3]bool{outer.OnLoop(), inner.OnLoop(), idle.OnLoop()} }
	testkit.Must(t, inner.Post(func() { inInner = ask() }))
	testkit.Must(t, outer.Post(func() {
		testkit.Must(t, inner.RunNonblock())
		inOuter = ask()
	}))
	testkit.Must(t, outer.RunNonblock())
	testkit.WantEqual(t, "in the inner loop's callback", inInner, [3]bool{true, true, false})
	testkit.WantEqual(t, "in the outer loop's callback", inOuter, [3]bool{true, false, false})
	testkit.WantEqual(t, "afterwards", ask(), [3]bool{})
}

// OnLoop is false on other goroutines, whether the loop is in a callback or sleeps, and on those that a callback has started.
func TestOnLoopIsFalseOnOtherGoroutines(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	during, after := make(chan bool), make(chan bool)
	testkit.Must(t, l.Post(func() {
		go func() { during <- l.OnLoop() }()
		if <-during {
			t.Error("on a goroutine that the callback has started, OnLoop is true while the callback runs")
		}
	}))
	for range 1000 { // some while it is in the callback, most while it sleeps
		if l.OnLoop() {
			t.Fatal("OnLoop is true on the goroutine of the test")
		}
	}
	testkit.Must(t, l.Post(func() { go func() { after <- l.OnLoop() }() }))
	testkit.WantEqual(t, "on a goroutine that a callback has started, after it", testkit.Await(t, after, "the answer"), false)
}

// BenchmarkOnLoop asks below 20 calls: while the loop sleeps, while it is in a callback on another goroutine, and in a callback.
func BenchmarkOnLoop(b *testing.B) {
	ask := func(b *testing.B, l *event.Loop) {
		var below func(n int)
		below = func(n int) {
			if n > 0 {
				below(n - 1)
				return
			}
			for b.Loop() {
				l.OnLoop()
			}
		}
		below(20)
	}
	b.Run("asleep", func(b *testing.B) {
		l := testkit.NewLoop(b, nil)
		testkit.Background(b, l)
		ask(b, l)
	})
	b.Run("busy", func(b *testing.B) {
		l := testkit.NewLoop(b, nil)
		testkit.Background(b, l)
		begun, end := make(chan struct{}), make(chan struct{})
		testkit.Must(b, l.Post(func() { close(begun); <-end }))
		<-begun
		ask(b, l)
		close(end)
	})
	b.Run("callback", func(b *testing.B) {
		l := testkit.NewLoop(b, nil)
		testkit.Must(b, l.Post(func() { ask(b, l) }))
		testkit.Must(b, l.RunNonblock())
	})
}
