package event_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// manners are the ways to watch a descriptor that l's backend knows.
func manners(l *event.Loop) map[string]event.Flags {
	m := map[string]event.Flags{"level": 0}
	if l.Features().Has(event.FeatureEdge) {
		m["edge"] = event.EdgeTriggered
	}
	return m
}

// ghost leaves a registration behind that Del cannot reach: a duplicate keeps the closed descriptor's file open. It
// returns the event, still added, and the peer that makes the file readable.
func ghost(t *testing.T, l *event.Loop, flags event.Flags, fn func(*event.Event, event.Flags)) (e *event.Event, peer int) {
	t.Helper()
	_, _, duplicate, peer := pair(t)
	fd := privateDup(t, duplicate)
	e = eventFor(t, l, fd, flags, fn)
	testkit.Must(t, e.Add(event.NoTimeout))
	closeRaw(t, fd)
	return e, peer
}

// If the removal of a one-shot event before its call shows that the descriptor was closed, the event is not called and Err
// returns ErrStale. Added again, the event is called once.
func TestOneShotOfAClosedDescriptorIsStale(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	e, peer := ghost(t, l, event.Read, func(*event.Event, event.Flags) { calls++ })
	send(t, peer, "x")
	turns(t, l, 3)
	testkit.WantEqual(t, "calls for a closed descriptor", calls, 0)
	testkit.WantEqual(t, "added", e.Added(), false)
	testkit.WantErr(t, e.Err(), event.ErrStale)
	testkit.WantErr(t, e.Del(), event.ErrStale)
	if s := l.Stats(); s.Stale != 1 || s.Added != 0 {
		t.Errorf("%d stale events, %d added", s.Stale, s.Added)
	}
	other := reopen(t, e.FD())
	send(t, other, "x")
	testkit.Must(t, e.Add(event.NoTimeout))
	turns(t, l, 3)
	testkit.WantEqual(t, "calls for the number's next file", calls, 1)
	closeRaw(t, e.FD(), other)
}

// An Add that fails because the descriptor is closed may end the events that kept a Run going.
func TestFailedAddThatEndsTheLastEventsEndsRun(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd, peer := rawPair(t)
	defer closeRaw(t, peer)
	first := silent(t, l, fd, event.Read|event.Persist)
	testkit.Must(t, first.Add(event.NoTimeout))
	second := silent(t, l, fd, event.Write)
	over := make(chan error, 1)
	go func() { over <- l.Run(t.Context()) }()
	letSleep(t, l)
	closeRaw(t, fd)
	testkit.WantErr(t, second.Add(event.NoTimeout), event.ErrBadDescriptor)
	testkit.Must(t, testkit.Await(t, over, "end of Run"))
}

// However a descriptor is closed behind its event's back, a loop that sleeps is not set spinning.
func TestClosedDescriptorDoesNotSpin(t *testing.T) {
	for name, tidy := range map[string]func(t *testing.T, e *event.Event){
		"forgotten": func(*testing.T, *event.Event) {},
		"deleted":   func(t *testing.T, e *event.Event) { _ = e.Del() },
		"reused": func(t *testing.T, e *event.Event) {
			peer := reopen(t, e.FD())
			t.Cleanup(func() { closeRaw(t, e.FD(), peer) })
			next := silent(t, e.Loop(), e.FD(), event.Read|event.Persist)
			testkit.Must(t, next.Add(event.NoTimeout))
			t.Cleanup(func() { testkit.Must(t, next.Del()) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			for manner, edge := range manners(testkit.NewLoop(t, nil)) {
				t.Run(manner, func(t *testing.T) {
					l := testkit.NewLoop(t, nil)
					fd, peer := rawPair(t)
					t.Cleanup(func() { closeRaw(t, peer) })
					e := eventFor(t, l, fd, event.Read|event.Persist|edge, func(*event.Event, event.Flags) {})
					testkit.Must(t, e.Add(event.NoTimeout))
					testkit.Background(t, l)
					letSleep(t, l)
					closeRaw(t, fd)
					tidy(t, e)
					letSleep(t, l)
					before := l.Stats().Turns
					time.Sleep(20 * time.Millisecond) // a loop that spins makes thousands
					if n := l.Stats().Turns - before; n > 20 {
						t.Errorf("%d turns with nothing to do", n)
					}
					if name == "forgotten" && !l.Features().Has(event.FeatureStale) {
						testkit.WantErr(t, e.Err(), event.ErrStale) // poll looks at each descriptor
					}
				})
			}
		})
	}
}

// When the same file comes back to its number, the registration that was left behind serves the new event.
func TestSameFileGetsItsNumberBack(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	a, b := socketpair(t)
	fd := privateDup(t, fdOf(t, a))
	gone := silent(t, l, fd, event.Read|event.Persist)
	testkit.Must(t, gone.Add(event.NoTimeout))
	closeRaw(t, fd)
	testkit.WantErr(t, gone.Del(), event.ErrStale)
	n, err := unix.FcntlInt(uintptr(fdOf(t, a)), unix.F_DUPFD_CLOEXEC, fd)
	testkit.Must(t, err)
	testkit.WantEqual(t, "number", n, fd)
	told := event.Flags(0)
	e := eventFor(t, l, fd, event.Read, func(_ *event.Event, what event.Flags) { told = what })
	testkit.Must(t, e.Add(event.NoTimeout))
	send(t, fdOf(t, b), "x")
	testkit.Run(t, l)
	testkit.WantEqual(t, "told", told, event.Read)
	closeRaw(t, fd)
	testkit.WantEqual(t, "rebuilds", l.Stats().Rebuilds, 0)
}

// causeRebuild makes the loop replace its poller. It makes the loop's turns itself, or leaves them to the goroutine that runs
// the loop.
func causeRebuild(t *testing.T, l *event.Loop, step func()) {
	t.Helper()
	e, peer := ghost(t, l, event.Read|event.Persist, func(*event.Event, event.Flags) {})
	testkit.WantErr(t, e.Del(), event.ErrStale)
	if !l.Features().Has(event.FeatureStale) {
		return // the backend goes by numbers and keeps no ghosts
	}
	rebuilds := l.Stats().Rebuilds
	send(t, peer, "x")
	testkit.Until(t, "a new set", func() bool {
		step()
		return l.Stats().Rebuilds > rebuilds
	})
}

// A new set has every event of the old one, level- and edge-triggered, and loses no edge that came meanwhile.
func TestRebuildKeepsTheOtherEvents(t *testing.T) {
	for manner, edge := range manners(testkit.NewLoop(t, nil)) {
		t.Run(manner, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			const n = 20
			var peers [n]int
			var calls [n]int
			for i := range n {
				var fd int
				_, _, fd, peers[i] = pair(t)
				e := eventFor(t, l, fd, event.Read|event.Persist|edge, func(*event.Event, event.Flags) {
					if s, _ := receive(fd); s != "" {
						calls[i]++
					}
				})
				testkit.Must(t, e.Add(event.NoTimeout))
				writer := eventFor(t, l, fd, event.Closed|event.Persist|edge, func(*event.Event, event.Flags) {})
				if l.Features().Has(event.FeatureClosed) {
					testkit.Must(t, writer.Add(event.NoTimeout))
				}
			}
			want := 0
			check := func() {
				t.Helper()
				for i := range peers {
					send(t, peers[i], "x")
				}
				want++
				turns(t, l, 2)
				for i, got := range calls {
					if got != want {
						t.Fatalf("event %d was called %d times instead of %d", i, got, want)
					}
				}
			}
			check()
			for range 3 {
				causeRebuild(t, l, func() { turns(t, l, 1) })
				check()
			}
			// An edge comes just before the set is replaced.
			for i := range peers {
				send(t, peers[i], "x")
			}
			want++
			causeRebuild(t, l, func() { turns(t, l, 1) })
			turns(t, l, 2)
			check()
		})
	}
}

// A descriptor that the old set shows to be closed is not added to the new one, where its number could mean another file.
func TestRebuildFindsClosedDescriptors(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureStale) {
		t.Skip("the backend goes by numbers")
	}
	closed, peer := rawPair(t)
	reused, peer2 := rawPair(t)
	a, b := silent(t, l, closed, event.Read), silent(t, l, reused, event.Read|event.Persist)
	testkit.Must(t, a.Add(event.NoTimeout))
	testkit.Must(t, b.Add(event.NoTimeout))
	closeRaw(t, closed, peer, reused, peer2)
	successor := reopen(t, reused)
	causeRebuild(t, l, func() { turns(t, l, 1) })
	send(t, successor, "x")
	turns(t, l, 3)
	testkit.WantErr(t, a.Err(), event.ErrStale)
	testkit.WantErr(t, b.Err(), event.ErrStale)
	testkit.WantEqual(t, "added", l.Stats().Added, 0)
	closeRaw(t, reused, successor)
}

// Waking a loop that replaces its set just now neither fails nor is lost, nor does it touch the old set's waker.
func TestRebuildRacesPosts(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		l := testkit.NewLoop(t, nil)
		testkit.Background(t, l)
		var posters sync.WaitGroup
		quit := make(chan struct{})
		for range 3 {
			posters.Go(func() {
				ran := make(chan struct{})
				for {
					select {
					case <-quit:
						return
					default:
					}
					if err := l.Post(func() { ran <- struct{}{} }); err != nil {
						t.Error(err)
						return
					}
					select {
					case <-ran:
					case <-time.After(testkit.Patience):
						t.Error("a post was lost")
						return
					}
				}
			})
		}
		for range tenfold(10) {
			causeRebuild(t, l, func() {})
		}
		close(quit)
		posters.Wait()
	}, 1, 2, 4)
}

// reuse is a descriptor's number and what is behind it now.
type reuse struct {
	l        *event.Loop
	fd, peer int
	e        *event.Event
	silent   *atomic.Bool // the event behind the number now must not be called: nothing was sent to it
}

// next gives the number to a fresh file, with or without Del before the close, and watches it.
func (r *reuse) next(t *testing.T, flags event.Flags, del bool) error {
	if del {
		if err := r.e.Del(); err != nil {
			return fmt.Errorf("Del before close: %w", err)
		}
	}
	closeRaw(t, r.fd, r.peer)
	r.peer = reopen(t, r.fd)
	quiet := &atomic.Bool{}
	quiet.Store(true)
	e, err := r.l.NewEvent(r.fd, flags, func(_ *event.Event, what event.Flags) {
		if quiet.Load() {
			t.Errorf("told %v of a file to which nothing was sent", what)
		}
	})
	if err != nil {
		return err
	}
	r.e, r.silent = e, quiet
	return e.Add(event.NoTimeout)
}

// A number that is closed and reopened again and again, within a turn or between turns, while its files become readable
// just before they are closed: no readiness of one reaches the event of the next.
func TestReadinessStaysWithItsFile(t *testing.T) {
	for _, del := range []bool{true, false} {
		for manner, edge := range manners(testkit.NewLoop(t, nil)) {
			t.Run(fmt.Sprintf("%s, Del %v", manner, del), func(t *testing.T) {
				probe := testkit.NewLoop(t, nil)
				if del || probe.Features().Has(event.FeatureStale) {
					reuseInTurns(t, event.Read|event.Persist|edge, del)
					reuseFromOutside(t, event.Read|event.Persist|edge, del)
				}
			})
		}
	}
}

func newReuse(t *testing.T, l *event.Loop, flags event.Flags) *reuse {
	t.Helper()
	r := &reuse{l: l, silent: &atomic.Bool{}}
	r.fd, r.peer = rawPair(t)
	r.e = eventFor(t, l, r.fd, flags, func(*event.Event, event.Flags) {})
	testkit.Must(t, r.e.Add(event.NoTimeout))
	return r
}

// reuseInTurns does it in callbacks and in watchers, several times in each turn.
func reuseInTurns(t *testing.T, flags event.Flags, del bool) {
	l := testkit.NewLoop(t, nil)
	_, _, always, _ := pair(t)
	var numbers []*reuse
	for range 3 {
		numbers = append(numbers, newReuse(t, l, flags))
	}
	swap := func() {
		for _, r := range numbers {
			for range 2 {
				r.silent.Store(false)
				send(t, r.peer, "x")
				testkit.Must(t, r.next(t, flags, del))
			}
		}
	}
	busy := eventFor(t, l, always, event.Write|event.Persist, func(*event.Event, event.Flags) { swap() })
	testkit.Must(t, busy.Add(event.NoTimeout))
	onCheck(t, l, swap)
	onPrepare(t, l, swap)
	turns(t, l, tenfold(20))
	for _, r := range numbers {
		testkit.Must(t, r.e.Del())
		closeRaw(t, r.fd, r.peer)
	}
}

// reuseFromOutside does it beside a loop that runs on another goroutine.
func reuseFromOutside(t *testing.T, flags event.Flags, del bool) {
	l := testkit.NewLoop(t, nil)
	r := newReuse(t, l, flags)
	stop := testkit.Background(t, l)
	for range tenfold(100) {
		r.silent.Store(false)
		send(t, r.peer, "x")
		testkit.Must(t, r.next(t, flags, del))
	}
	stop()
	testkit.Must(t, r.e.Del())
	closeRaw(t, r.fd, r.peer)
}
