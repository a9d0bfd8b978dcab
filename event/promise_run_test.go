package event_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

var errCause = errors.New("the cause")

// runs are the ways to run a loop that take a context.
var runs = map[string]func(l *event.Loop, ctx context.Context) error{
	"Run":        (*event.Loop).Run,
	"RunOnce":    (*event.Loop).RunOnce,
	"RunForever": (*event.Loop).RunForever,
}

func TestRunWithAnEndedContextReturnsItsCause(t *testing.T) {
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			testkit.Must(t, silent(t, l, readable(t), event.Read).Add(event.NoTimeout))
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(errCause)
			testkit.WantErr(t, run(l, ctx), errCause)
			ctx, end := context.WithDeadline(t.Context(), time.Unix(0, 0))
			defer end()
			testkit.WantErr(t, run(l, ctx), context.DeadlineExceeded)
			testkit.WantEqual(t, "turns", l.Stats().Turns, uint64(0))
		})
	}
}

func TestContextEndsARunThatSleeps(t *testing.T) {
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			l.Ref()
			begun := make(chan struct{}, 1)
			onPrepare(t, l, func() { begun <- struct{}{} })
			for range tenfold(10) {
				ctx, cancel := context.WithCancelCause(t.Context())
				over := make(chan error, 1)
				go func() { over <- run(l, ctx) }()
				testkit.Await(t, begun, "the run")
				cancel(errCause)
				testkit.WantErr(t, testkit.Await(t, over, "end of "+name), errCause)
			}
		})
	}
}

// A loop with work without end stops between two callbacks, and what was active stays so for the next run.
func TestContextEndsARunThatIsBusy(t *testing.T) {
	for name, loop := range runs {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			ctx, cancel := context.WithCancelCause(t.Context())
			var order []string
			first := userEvent(t, l, 0, func() {
				order = append(order, "first")
				cancel(errCause)
				testkit.Until(t, "the loop to know", func() bool {
					d, ok := l.PollTimeout()
					return ok && d == 0
				})
			})
			second := userEvent(t, l, 0, func() { order = append(order, "second") })
			testkit.Must(t, first.Activate(0))
			testkit.Must(t, second.Activate(0))
			testkit.WantErr(t, loop(l, ctx), errCause)
			testkit.Run(t, l)
			if len(order) != 2 || order[0] != "first" {
				t.Errorf("order %q", order)
			}
		})
	}
}

// A cancellation belongs to the run that was given the context, however late it comes.
func TestLateCancellationDoesNotEndTheNextRun(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		l := testkit.NewLoop(t, nil)
		for range tenfold(100) {
			cancelLate(t, l)
		}
	}, 1, 2, 4)
}

// cancelLate cancels a run while it ends, and then others.
func cancelLate(t *testing.T, l *event.Loop) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	testkit.Must(t, l.Post(func() { go cancel() }))
	if err := l.RunOnce(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	calls := 0
	for range 3 {
		testkit.Must(t, userEvent(t, l, 0, func() { calls++; runtime.Gosched() }).Activate(0))
		testkit.Run(t, l)
	}
	testkit.WantEqual(t, "calls in runs without that context", calls, 3)
}

// Posts that were accepted before a run is cancelled are called by the next one, or by Close.
func TestCancelledRunKeepsPosts(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	called := 0
	for i := range 10 {
		testkit.Must(t, l.Post(func() {
			called++
			if i == 3 {
				cancel()
				testkit.Until(t, "the loop to know", func() bool { return ctx.Err() != nil })
			}
		}))
	}
	_ = l.RunForever(ctx)
	testkit.Must(t, l.Close())
	testkit.WantEqual(t, "posts called", called, 10)
}

func TestRunIsNotReentrant(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	e := userEvent(t, l, 0, func() {
		calls++
		for name, run := range runs {
			if err := run(l, t.Context()); !errors.Is(err, event.ErrRunning) {
				t.Errorf("%s in a callback: %v", name, err)
			}
		}
		testkit.WantErr(t, l.RunNonblock(), event.ErrRunning)
	})
	testkit.Must(t, e.Activate(0))
	testkit.Run(t, l)
	testkit.WantEqual(t, "calls", calls, 1)
}

// One goroutine at a time runs a loop; afterwards any other may.
func TestRunMovesFromGoroutineToGoroutine(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var inside atomic.Int32
	done := make(chan int)
	const each = 200
	for range 3 {
		go func() {
			ran := 0
			for ran < each {
				switch err := l.RunNonblock(); {
				case err == nil:
					ran++
				case errors.Is(err, event.ErrRunning):
					runtime.Gosched() // or on one processor the others would wait 10 ms for each turn
				default:
					t.Error(err)
				}
			}
			done <- ran
		}()
	}
	var e *event.Event
	e = userEvent(t, l, 0, func() {
		if inside.Add(1) != 1 {
			t.Error("two callbacks at a time")
		}
		inside.Add(-1)
		testkit.Must(t, e.Activate(0))
	})
	testkit.Must(t, e.Activate(0))
	for range 3 {
		testkit.WantEqual(t, "turns", testkit.Await(t, done, "turns of a goroutine"), each)
	}
	testkit.Must(t, e.Del())
}
