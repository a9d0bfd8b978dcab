package event_test

import (
	"errors"
	"testing"

	"github.com/evmq/evmq/event"
)

// Only the owner of a loop runs it and ends it: everyone else is refused with ErrOwned, before the loop runs, while it runs and on the
// loop itself, and what was refused has no effect.
func TestOnlyTheOwnerRunsAndEndsItsLoop(t *testing.T) {
	l, err := event.NewLoop()
	must(t, err)
	l.Break() // before there is an owner; it has no run to end
	must(t, l.Exit(0))
	owner, err := l.Own()
	must(t, err)
	refused := func(when string) {
		t.Helper()
		_, again := l.Own()
		for name, err := range map[string]error{
			"Break": l.Break(), "Exit": l.Exit(0), "Close": l.Close(), "Run": l.Run(inPatience(t)), "RunForever": l.RunForever(inPatience(t)),
			"RunOnce": l.RunOnce(inPatience(t)), "RunNonblock": l.RunNonblock(), "Own": again,
		} {
			if !errors.Is(err, event.ErrOwned) {
				t.Errorf("%s %s: %v, want ErrOwned", name, when, err)
			}
		}
	}
	refused("before the run")
	done := make(chan error, 1)
	go func() { done <- owner.RunForever(inPatience(t)) }()
	for range 3 { // the run goes on
		turn := make(chan struct{})
		must(t, l.Post(func() { refused("on the loop"); close(turn) }))
		await(t, turn, "a post")
		refused("beside the run")
	}
	must(t, owner.Close())
	if err := await(t, done, "the run's end"); !errors.Is(err, event.ErrClosed) {
		t.Errorf("the run ended with %v", err)
	}
	must(t, owner.Close()) // as of a loop without an owner
}

// A loop that runs, or is closed, gets no owner.
func TestALoopThatRunsGetsNoOwner(t *testing.T) {
	l := newLoop(t)
	must(t, l.Post(func() {
		if _, err := l.Own(); !errors.Is(err, event.ErrRunning) {
			t.Errorf("while it runs: %v", err)
		}
	}))
	oneTurn(t, l)
	must(t, l.Close())
	if _, err := l.Own(); !errors.Is(err, event.ErrClosed) {
		t.Errorf("when it is closed: %v", err)
	}
}
