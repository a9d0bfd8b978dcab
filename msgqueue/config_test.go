package msgqueue_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"net"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// Zero fields, and a nil Config, mean the defaults; a negative bound or budget means no limit.
func TestConfigDefaultsAndLimits(t *testing.T) {
	for _, c := range []struct {
		cfg           *msgqueue.Config
		bound, budget int
	}{
		{nil, msgqueue.DefaultBound, msgqueue.DefaultBudget},
		{&msgqueue.Config{}, msgqueue.DefaultBound, msgqueue.DefaultBudget},
		{&msgqueue.Config{Bound: 600}, 600, msgqueue.DefaultBudget},
		{&msgqueue.Config{Budget: 3}, msgqueue.DefaultBound, 3},
		{&msgqueue.Config{Bound: msgqueue.Unlimited, Budget: msgqueue.Unlimited}, math.MaxInt, math.MaxInt},
		{&msgqueue.Config{Bound: math.MinInt, Budget: math.MinInt}, math.MaxInt, math.MaxInt},
	} {
		l := testkit.NewLoop(t, nil)
		delivered := 0
		q := newQueue(t, l, func(int) { delivered++ }, c.cfg)
		if bound := q.Stats().Bound; bound != c.bound {
			t.Errorf("bound %d of %+v, want %d", bound, c.cfg, c.bound)
		}
		pushed := min(c.bound, 5000)
		testkit.Must(t, q.PushBatch(make([]int, pushed)))
		if c.bound == math.MaxInt {
			testkit.Must(t, q.Push(0))
			pushed++
		} else {
			testkit.WantErr(t, q.Push(0), msgqueue.ErrFull)
		}
		turn(t, l)
		if want := min(c.budget, pushed); delivered != want {
			t.Errorf("%d messages delivered in a turn of %+v, want %d", delivered, c.cfg, want)
		}
	}
}

// New does not write to the Config, and later changes of it, the priority it points to included, do not reach the queue.
func TestConfigIsNotWrittenTo(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 2})
	priority := 1
	cfg := msgqueue.Config{Bound: 1, Priority: &priority}
	before := cfg
	q := newQueue(t, l, func(int) {}, &cfg)
	if cfg != before || priority != 1 {
		t.Errorf("New made the Config %+v, it was %+v", cfg, before)
	}
	cfg.Bound, priority = 2, 0
	testkit.Must(t, q.Push(0))
	testkit.WantErr(t, q.Push(0), msgqueue.ErrFull)
	if p := l.Events()[0].Priority(); p != 1 {
		t.Errorf("priority %d, want 1", p)
	}
}

// ErrClosed matches net.ErrClosed, and no other error of the standard library that means closed.
func TestErrClosedMatchesNetErrClosed(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	q := newQueue(t, l, func(int) {}, nil)
	q.Close()
	errs := map[string]error{
		"Push": q.Push(0), "PushBatch": q.PushBatch([]int{0}), "PushContext": q.PushContext(context.Background(), 0),
	}
	testkit.Must(t, l.Close())
	_, errs["New"] = msgqueue.New(l, func(int) {}, nil)
	for op, err := range errs {
		if !errors.Is(err, msgqueue.ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v does not match msgqueue.ErrClosed and net.ErrClosed", op, err)
		}
		if errors.Is(err, fs.ErrClosed) || errors.Is(err, msgqueue.ErrFull) {
			t.Errorf("%s: %v matches fs.ErrClosed or ErrFull", op, err)
		}
	}
}
