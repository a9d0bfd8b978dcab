package event_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// Only the owner of a loop runs it and ends it: everyone else is refused with ErrOwned, before the loop runs, while it runs and on the
// loop itself, and what was refused has no effect.
func TestOnlyTheOwnerRunsAndEndsItsLoop(t *testing.T) {
	l, err := event.NewLoop(nil)
	testkit.Must(t, err)
	l.Break() // before there is an owner; it has no run to end
	testkit.Must(t, l.Exit(0))
	owner, err := l.Own()
	testkit.Must(t, err)
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
		testkit.Must(t, l.Post(func() { refused("on the loop"); close(turn) }))
		testkit.Await(t, turn, "a post")
		refused("beside the run")
	}
	testkit.Must(t, owner.Close())
	if err := testkit.Await(t, done, "the run's end"); !errors.Is(err, event.ErrClosed) {
		t.Errorf("the run ended with %v", err)
	}
	testkit.Must(t, owner.Close()) // as of a loop without an owner
}

// A loop that runs, or is closed, gets no owner.
func TestALoopThatRunsGetsNoOwner(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Must(t, l.Post(func() {
		if _, err := l.Own(); !errors.Is(err, event.ErrRunning) {
			t.Errorf("while it runs: %v", err)
		}
	}))
	oneTurn(t, l)
	testkit.Must(t, l.Close())
	if _, err := l.Own(); !errors.Is(err, event.ErrClosed) {
		t.Errorf("when it is closed: %v", err)
	}
}

// A loop that gets an owner while another goroutine begins to run it or to close it is run and closed by its owner alone: either Own
// fails, or the other call does.
func TestOwnDuringRunOrClose(t *testing.T) {
	for round := range tenfold(200) {
		l, err := event.NewLoop(&event.Config{Backend: event.BackendPoll, Driver: event.DriverThread})
		testkit.Must(t, err)
		byOther := func() {
			if _, err := l.Own(); errors.Is(err, event.ErrOwned) {
				t.Error("a loop that has an owner was run or closed by another")
			}
		}
		_, err = l.OnPrepare(byOther)
		testkit.Must(t, err)
		closing, err := l.OnClose(byOther)
		testkit.Must(t, err)
		var both sync.WaitGroup
		var owner *event.Owner
		start := make(chan struct{})
		both.Go(func() {
			<-start
			if round%2 == 0 {
				_ = l.Close() // ErrOwned, or it is closed
			} else {
				_ = l.RunNonblock()
			}
		})
		both.Go(func() {
			<-start
			for range round % 40 { // to meet each moment of the other call
				l.Now()
			}
			owner, _ = l.Own()
		})
		close(start)
		both.Wait()
		closing.Stop()
		if owner != nil {
			testkit.Must(t, owner.Close())
		} else {
			testkit.Must(t, l.Close())
		}
	}
}
