package event_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// sleepingScript is a loop that sleeps in a scriptPoller on another goroutine.
func sleepingScript(t *testing.T) (*event.Loop, *scriptPoller) {
	t.Helper()
	p := newScriptPoller()
	l := testkit.NewLoop(t, &event.Config{OpenPoller: p.open, Driver: event.DriverThread})
	testkit.Background(t, l)
	t.Cleanup(p.release) // before the loop is to end
	testkit.Until(t, "sleep", p.asleep)
	return l, p
}

// Of a burst while the loop sleeps, only the first call wakes it, whichever goroutines make the calls and of whatever kind they
// are.
func TestBurstWakesOnce(t *testing.T) {
	l, p := sleepingScript(t)
	p.hold()
	before := l.Stats()
	const n = 100
	var ran sync.WaitGroup
	ran.Add(5 * n)
	var senders sync.WaitGroup
	for range 5 {
		senders.Go(func() {
			for i := range n {
				switch i % 3 {
				case 0:
					testkit.Must(t, l.Post(ran.Done))
				case 1:
					testkit.Must(t, userEvent(t, l, 0, ran.Done).Activate(0))
				case 2:
					_, err := l.AfterFunc(0, ran.Done)
					testkit.Must(t, err)
				}
			}
		})
	}
	senders.Wait()
	after := l.Stats()
	testkit.WantEqual(t, "calls of Wake", p.wakes(), 1)
	testkit.WantEqual(t, "wakes", after.Wakes-before.Wakes, 1)
	if after.Coalesced == before.Coalesced {
		t.Error("nothing was counted as coalesced")
	}
	p.release()
	over := make(chan struct{})
	go func() { ran.Wait(); close(over) }()
	testkit.Await(t, over, "the last of the burst")
}

// The same on the real thing: a burst that comes in one piece wakes a loop that sleeps once.
func TestBurstInOnePieceWakesOnce(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	const n = 50
	fd := idle(t)
	ran := make(chan struct{}, n)
	for range n {
		e := eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) { ran <- struct{}{} })
		testkit.Must(t, e.Add(event.NoTimeout))
	}
	testkit.Background(t, l)
	slept := 0
	for range 200 {
		letSleep(t, l)
		before := l.Stats()
		testkit.Must(t, l.ActivateFD(fd, event.Read))
		for range n {
			testkit.Await(t, ran, "callback")
		}
		after := l.Stats()
		switch wakes := after.Wakes - before.Wakes; wakes {
		case 1:
			if slept++; slept == 3 {
				return
			}
		case 0: // it was awake still
		default:
			t.Fatalf("%d wakes for one burst", wakes)
		}
	}
	t.Error("the loop never slept")
}

// Calls on the loop itself, while it is awake, make no wakes.
func TestAwakeLoopIsNotWoken(t *testing.T) {
	l, p := sleepingScript(t)
	wakes := p.wakes()
	before := l.Stats()
	done := make(chan struct{})
	user := userEvent(t, l, 0, func() { close(done) })
	testkit.Must(t, l.Post(func() { // one wake for this one
		for range 50 {
			testkit.Must(t, userEvent(t, l, 0, func() {}).Activate(0))
			testkit.Must(t, l.Post(func() {}))
			testkit.Must(t, silent(t, l, -1, 0).Add(time.Hour))
			l.Ref()
			l.Unref()
			l.Continue()
		}
		testkit.Must(t, l.Post(func() { testkit.Must(t, l.Post(func() { testkit.Must(t, user.Activate(0)) })) }))
	}))
	testkit.Await(t, done, "last callback")
	after := l.Stats()
	testkit.WantEqual(t, "calls of Wake", p.wakes()-wakes, 1)
	testkit.WantEqual(t, "wakes", after.Wakes-before.Wakes, 1)
}

// A loop that does not run is not woken either, and what came meanwhile is counted as needing no wake.
func TestLoopThatDoesNotRunIsNotWoken(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	for range 10 {
		testkit.Must(t, l.Post(func() {}))
		testkit.Must(t, userEvent(t, l, 0, func() {}).Activate(0))
	}
	s := l.Stats()
	testkit.WantEqual(t, "wakes", s.Wakes, 0)
	testkit.WantEqual(t, "coalesced", s.Coalesced, 20)
	testkit.Run(t, l)
	testkit.WantEqual(t, "wakes", l.Stats().Wakes, 0)
}

// Timers and descriptors end a sleep by themselves; that is not counted as a wake by another goroutine.
func TestTimersAndDescriptorsAreNoWakes(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, _, fd, peer := pair(t)
	rounds := 0
	e := eventFor(t, l, fd, event.Read|event.Persist, func(e *event.Event, _ event.Flags) {
		_, _ = receive(fd)
		if rounds++; rounds == 20 {
			testkit.Must(t, e.Del())
			return
		}
		_, err := l.AfterFunc(100*time.Microsecond, func() { send(t, peer, "x") })
		testkit.Must(t, err)
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	send(t, peer, "x")
	testkit.Run(t, l)
	testkit.WantEqual(t, "wakes", l.Stats().Wakes, 0)
}

// Each wake ends a sleep: there are never more wakes than turns, and every post is either a wake or coalesced.
func TestWakesAreAccountedFor(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		l := testkit.NewLoop(t, nil)
		testkit.Background(t, l)
		letSleep(t, l)
		before := l.Stats()
		const each = 500
		var senders, ran sync.WaitGroup
		ran.Add(4 * each)
		for range 4 {
			senders.Go(func() {
				for i := range each {
					testkit.Must(t, l.Post(ran.Done))
					if i%10 == 0 {
						runtime.Gosched()
					}
				}
			})
		}
		senders.Wait()
		over := make(chan struct{})
		go func() { ran.Wait(); close(over) }()
		testkit.Await(t, over, "last post")
		after := l.Stats()
		wakes, coalesced := after.Wakes-before.Wakes, after.Coalesced-before.Coalesced
		if n := after.Turns - before.Turns; wakes > n+1 {
			t.Errorf("%d wakes for %d turns", wakes, n)
		}
		if wakes+coalesced < 4*each {
			t.Errorf("%d wakes and %d coalesced for %d posts", wakes, coalesced, 4*each)
		}
		testkit.WantEqual(t, "posts", after.Posts-before.Posts, 4*each)
	}, 1, 2, 4)
}

// When the last thing to wait for goes while the loop is about to sleep, Run ends and does not sleep for ever.
func TestLastDelInPrepareEndsRun(t *testing.T) {
	cases := map[string]func(t *testing.T, l *event.Loop, e *event.Event){
		"Del":      func(t *testing.T, _ *event.Loop, e *event.Event) { testkit.Must(t, e.Del()) },
		"Finalize": func(t *testing.T, _ *event.Loop, e *event.Event) { testkit.Must(t, e.Finalize(func(*event.Event) {})) },
		"Unref": func(t *testing.T, l *event.Loop, e *event.Event) {
			testkit.Must(t, e.Del())
			l.Unref()
		},
	}
	for name, end := range cases {
		for mode, loop := range map[string]func(*event.Loop) error{
			"Run":     func(l *event.Loop) error { return l.Run(t.Context()) },
			"RunOnce": func(l *event.Loop) error { return l.RunOnce(t.Context()) },
		} {
			t.Run(name+" in "+mode, func(t *testing.T) {
				l := testkit.NewLoop(t, nil)
				e := silent(t, l, -1, 0)
				testkit.Must(t, e.Add(event.NoTimeout))
				if name == "Unref" {
					l.Ref()
				}
				first := true
				onPrepare(t, l, func() {
					if first {
						end(t, l, e)
					}
					first = false
				})
				over := make(chan error, 1)
				go func() { over <- loop(l) }()
				testkit.Must(t, testkit.Await(t, over, "end of "+mode))
			})
		}
	}
}

// The same race from another goroutine, at any moment.
func TestLastDelRacesSleep(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		l := testkit.NewLoop(t, nil)
		for round := range tenfold(300) {
			e := silent(t, l, -1, 0)
			testkit.Must(t, e.Add(event.NoTimeout))
			over := make(chan error, 1)
			go func() { over <- l.Run(t.Context()) }()
			for range round % 8 {
				runtime.Gosched()
			}
			testkit.Must(t, e.Del())
			testkit.Must(t, testkit.Await(t, over, "end of Run"))
		}
	}, 1, 2, 4)
}

// Two loops that hand a message to and fro sleep and are woken for each.
func TestMessagesBetweenLoops(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		a, b := testkit.NewLoop(t, nil), testkit.NewLoop(t, nil)
		testkit.Background(t, a)
		testkit.Background(t, b)
		left := tenfold(500)
		done := make(chan struct{})
		var there, back func()
		there = func() { testkit.Must(t, b.Post(back)) }
		back = func() {
			if left--; left == 0 {
				close(done)
				return
			}
			testkit.Must(t, a.Post(there))
		}
		testkit.Must(t, a.Post(there))
		testkit.Await(t, done, "the last message")
	}, 1, 2, 4)
}

// A sleeping loop is woken for a deadline only if that is before the one that it sleeps to: not if the nearest moves away, and not
// if another is set behind it.
func TestDeadlineWakesOnlyALoopThatWouldSleepPastIt(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	e := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) {})
	other := eventFor(t, l, -1, event.Persist, func(*event.Event, event.Flags) {})
	testkit.Must(t, e.Add(time.Hour))
	testkit.Background(t, l)
	clock.AwaitTimer(t, time.Hour)
	before := l.Stats()
	for range 10 {
		testkit.Must(t, e.Add(2*time.Hour))     // the nearest moves away
		testkit.Must(t, other.Add(3*time.Hour)) // behind it
		testkit.Must(t, e.Add(time.Hour))       // and back to where the loop sleeps to
		testkit.Must(t, other.Add(90*time.Minute))
		testkit.Must(t, e.SetTimeout(2*time.Hour))
		testkit.Must(t, e.SetTimeout(event.NoTimeout))
		testkit.Must(t, other.Del())
	}
	after := l.Stats()
	testkit.WantEqual(t, "wakes", after.Wakes-before.Wakes, 0)
	testkit.WantEqual(t, "turns", after.Turns-before.Turns, 0)
	testkit.Must(t, e.Add(time.Minute))
	testkit.WantEqual(t, "wakes for a nearer one", l.Stats().Wakes-before.Wakes, 1)
	clock.AwaitTimer(t, time.Minute)
}
