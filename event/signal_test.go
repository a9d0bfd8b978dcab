package event_test

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
)

// raise sends sig to this process and returns when every channel that os/signal serves has it.
func raise(t testing.TB, sig syscall.Signal) {
	t.Helper()
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, sig)
	must(t, syscall.Kill(os.Getpid(), sig))
	await(t, ch, "delivery of "+sig.String())
	signal.Stop(ch) // takes os/signal's lock, so that a delivery under way is over
}

// newSignal makes and adds a signal event.
func newSignal(t testing.TB, l *event.Loop, sig syscall.Signal, fn func(e *event.Event, what event.Flags)) *event.Event {
	t.Helper()
	e, err := l.NewSignal(sig, fn)
	must(t, err)
	must(t, e.Add(event.NoTimeout))
	return e
}

func TestSignalCallsBack(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	e := newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, what event.Flags) {
		calls++
		if what != event.Signal || e.FD() != int(syscall.SIGUSR1) || !l.OnLoop() {
			t.Errorf("told %v by an event of signal %d, on the loop: %v", what, e.FD(), l.OnLoop())
		}
		must(t, e.Del())
	})
	if got := e.Pending(); got != event.Signal {
		t.Errorf("waits for %v", got)
	}
	must(t, l.Post(func() { raise(t, syscall.SIGUSR1) }))
	run(t, l)
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

func TestSignalRaisedBeforeRunIsDelivered(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
		calls++
		must(t, e.Del())
	})
	raise(t, syscall.SIGUSR1)
	run(t, l)
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

// A signal that was raised before RunNonblock is delivered once, in that turn or in a later one: os/signal hands it over on a goroutine.
func TestSignalRaisedBeforeRunNonblockIsDelivered(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) { calls++ })
	raise(t, syscall.SIGUSR1)
	until(t, "delivery", func() bool {
		must(t, l.RunNonblock())
		return calls > 0
	})
	for range 10 {
		must(t, l.RunNonblock())
	}
	wantEqual(t, "calls", calls, 1)
}

func TestSignalWorksAfterDelAndAdd(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	fn := func(e *event.Event, _ event.Flags) {
		calls++
		must(t, e.Del())
	}
	a, b := newSignal(t, l, syscall.SIGUSR1, fn), newSignal(t, l, syscall.SIGUSR2, fn)
	for range 3 {
		must(t, a.Del())
		must(t, b.Del())
		must(t, b.Add(event.NoTimeout))
		must(t, a.Add(event.NoTimeout))
	}
	raise(t, syscall.SIGUSR1)
	raise(t, syscall.SIGUSR2)
	run(t, l)
	if calls != 2 {
		t.Fatalf("%d calls", calls)
	}
}

func TestSignalReachesEveryEvent(t *testing.T) {
	l := newLoop(t, nil)
	var calls [3]int
	for i := range calls {
		newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
			calls[i]++
			must(t, e.Del())
		})
	}
	raise(t, syscall.SIGUSR1)
	run(t, l)
	if calls != [3]int{1, 1, 1} {
		t.Fatalf("calls %v", calls)
	}
}

// Every loop that asked for a signal gets it, whether it runs now, ran last or has not run yet.
func TestSignalReachesEveryLoop(t *testing.T) {
	told := make(chan int, 8)
	tell := func(i int) func(*event.Event, event.Flags) {
		return func(*event.Event, event.Flags) { told <- i }
	}
	loops := []*event.Loop{newLoop(t, nil), newLoop(t, nil), newLoop(t, nil)}
	for i, l := range loops {
		newSignal(t, l, syscall.SIGUSR1, tell(i))
	}
	background(t, loops[0])
	background(t, loops[1])
	raise(t, syscall.SIGUSR1)
	if a, b := await(t, told, "call"), await(t, told, "second call"); a+b != 1 {
		t.Fatalf("loops %d and %d were told", a, b)
	}
	stop := background(t, loops[2])
	if i := await(t, told, "call in the loop that began late"); i != 2 {
		t.Fatalf("loop %d was told", i)
	}
	stop()

	// One loop's Del leaves the others alone.
	must(t, loops[0].Close())
	raise(t, syscall.SIGUSR1)
	if i := await(t, told, "call after another loop's end"); i != 1 {
		t.Fatalf("loop %d was told", i)
	}
}

func TestSignalEventTimesOutWithoutSignal(t *testing.T) {
	l := newLoop(t, nil)
	told := event.Flags(0)
	e, err := l.NewEvent(int(syscall.SIGUSR1), event.Signal, func(_ *event.Event, what event.Flags) { told = what })
	must(t, err)
	must(t, e.Add(10*time.Microsecond))
	run(t, l)
	if told != event.Timeout {
		t.Fatalf("told %v", told)
	}
}

func TestSignalRaisedInItsOwnCallbackComesAgain(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
		if calls++; calls == 5 {
			must(t, e.Del())
			return
		}
		raise(t, syscall.SIGUSR1)
	})
	raise(t, syscall.SIGUSR1)
	run(t, l)
	if calls != 5 {
		t.Fatalf("%d calls", calls)
	}
}

// settle lets a delivery pass from os/signal into the loop; a test that needs more than likelihood does not use it.
func settle() {
	for range 100 {
		runtime.Gosched()
	}
	time.Sleep(2 * time.Millisecond)
}

func TestSignalIsDeliveredAsOftenAsItCame(t *testing.T) {
	const times = 20
	interruptions := []struct {
		name string
		do   func(l *event.Loop)
	}{
		{"undisturbed", func(*event.Loop) {}},
		{"with Break", func(l *event.Loop) { l.Break() }},
		{"with Continue", (*event.Loop).Continue},
		{"with a panic", func(*event.Loop) { panic("isolated") }},
	}
	for _, c := range interruptions {
		t.Run(c.name, func(t *testing.T) {
			l := newLoop(t, &event.Config{PanicHandler: func(any, []byte) {}})
			var calls atomic.Int32
			newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) {
				calls.Add(1)
				c.do(l)
			})
			for range times {
				raise(t, syscall.SIGUSR1)
			}
			settle()
			until(t, "every delivery", func() bool {
				must(t, l.RunNonblock())
				return calls.Load() >= times
			})
			turns(t, l, 3)
			if n := calls.Load(); n != times {
				t.Fatalf("%d calls for %d deliveries", n, times)
			}
		})
	}
}

// A delivery that comes while the callback runs does not take the place of those that wait.
func TestSignalDuringItsCallbackIsCounted(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
		if calls++; calls == 1 {
			raise(t, syscall.SIGUSR1)
			until(t, "activation", func() bool { return e.Pending()&event.Signal != 0 })
			settle()
		}
	})
	for range 3 {
		raise(t, syscall.SIGUSR1)
	}
	settle()
	until(t, "every delivery", func() bool {
		must(t, l.RunNonblock())
		return calls >= 4
	})
	turns(t, l, 3)
	if calls != 4 {
		t.Fatalf("%d calls for 4 deliveries", calls)
	}
}

func TestSignalDelInCallbackCancelsPendingCalls(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
		calls++
		must(t, e.Del())
	})
	raise(t, syscall.SIGUSR1)
	raise(t, syscall.SIGUSR1)
	settle()
	run(t, l)
	turns(t, l, 3)
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

func TestSignalWithoutPersistIsOneShot(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	e, err := l.NewEvent(int(syscall.SIGUSR1), event.Signal, func(e *event.Event, _ event.Flags) {
		calls++
		if e.Added() {
			t.Error("still added in its callback")
		}
	})
	must(t, err)
	for range 2 {
		must(t, e.Add(event.NoTimeout))
		raise(t, syscall.SIGUSR1)
		run(t, l)
	}
	if calls != 2 {
		t.Fatalf("%d calls", calls)
	}
}

func TestSignalDelDoesNotAffectOtherSignals(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	a := newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) { t.Error("called after Del") })
	newSignal(t, l, syscall.SIGUSR2, func(e *event.Event, _ event.Flags) {
		calls++
		must(t, e.Del())
	})
	must(t, a.Del())
	raise(t, syscall.SIGUSR1)
	raise(t, syscall.SIGUSR2)
	run(t, l)
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

// Other parts of the program that use os/signal neither disturb a loop nor are disturbed by it.
func TestSignalIsSharedWithOsSignal(t *testing.T) {
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, syscall.SIGUSR1)
	defer signal.Stop(ch)
	l := newLoop(t, nil)
	e := newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) { must(t, e.Del()) })
	raise(t, syscall.SIGUSR1)
	await(t, ch, "delivery beside a loop")
	run(t, l)
	if e.Added() {
		t.Error("still added")
	}
	raise(t, syscall.SIGUSR1)
	await(t, ch, "delivery after a loop's Del")
}

func TestSignalThatCannotBeCaughtIsRefused(t *testing.T) {
	l := newLoop(t, nil)
	fn := func(*event.Event, event.Flags) {}
	for _, n := range []int{-1, 0, int(syscall.SIGKILL), int(syscall.SIGSTOP), 65, 1 << 20} {
		_, err := l.NewEvent(n, event.Signal, fn)
		wantErr(t, err, event.ErrInvalid)
		must(t, l.ActivateSignal(n)) // harmless
	}
	_, err := l.NewSignal(notASignal{}, fn)
	wantErr(t, err, event.ErrInvalid)
	_, err = l.NewSignal(syscall.SIGUSR1, nil)
	wantErr(t, err, event.ErrInvalid)
	for _, with := range []event.Flags{event.Read, event.Write, event.Closed, event.EdgeTriggered} {
		_, err := l.NewEvent(int(syscall.SIGUSR1), event.Signal|with, fn)
		wantErr(t, err, event.ErrInvalid)
	}
}

type notASignal struct{}

func (notASignal) String() string { return "not a signal" }
func (notASignal) Signal()        {}

func TestActivateSignalReachesItsEventsOnly(t *testing.T) {
	l := newLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, what event.Flags) {
		calls++
		if what != event.Signal {
			t.Errorf("told %v", what)
		}
		must(t, e.Del())
	})
	other := newSignal(t, l, syscall.SIGUSR2, func(*event.Event, event.Flags) { t.Error("wrong signal") })
	must(t, l.ActivateSignal(int(syscall.SIGUSR1)))
	turns(t, l, 2)
	must(t, other.Del())
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

// Many signals while events are added and deleted on several loops neither end the program nor block a goroutine.
func TestManySignalsWhileEventsAreAddedAndDeleted(t *testing.T) {
	keep := make(chan os.Signal, 1) // or a gap between two events would meet the default disposition
	signal.Notify(keep, syscall.SIGWINCH)
	defer signal.Stop(keep)
	var workers, rain sync.WaitGroup
	quit := make(chan struct{})
	rain.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				_ = syscall.Kill(os.Getpid(), syscall.SIGWINCH)
				runtime.Gosched()
			}
		}
	})
	for range 2 {
		l := newLoop(t, nil)
		background(t, l)
		for range 2 {
			workers.Go(func() {
				for range tenfold(20) {
					e, err := l.NewSignal(syscall.SIGWINCH, func(*event.Event, event.Flags) {})
					if err = errors.Join(err, e.Add(event.NoTimeout), e.Del()); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	workers.Wait()
	close(quit)
	rain.Wait()
}
