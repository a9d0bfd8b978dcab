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
	"github.com/evmq/evmq/internal/testkit"
)

// raise sends sig to this process and returns when every channel that os/signal serves has it.
func raise(t testing.TB, sig syscall.Signal) {
	t.Helper()
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, sig)
	testkit.Must(t, syscall.Kill(os.Getpid(), sig))
	testkit.Await(t, ch, "delivery of "+sig.String())
	signal.Stop(ch) // takes os/signal's lock, so that a delivery under way is over
}

// newSignal makes and adds a signal event.
func newSignal(t testing.TB, l *event.Loop, sig syscall.Signal, fn func(e *event.Event, what event.Flags)) *event.Event {
	t.Helper()
	e, err := l.NewSignal(sig, fn)
	testkit.Must(t, err)
	testkit.Must(t, e.Add(event.NoTimeout))
	return e
}

func TestSignalCallsBack(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	e := newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, what event.Flags) {
		calls++
		if what != event.Signal || e.FD() != int(syscall.SIGUSR1) || !l.OnLoop() {
			t.Errorf("told %v by an event of signal %d, on the loop: %v", what, e.FD(), l.OnLoop())
		}
		testkit.Must(t, e.Del())
	})
	if got := e.Pending(); got != event.Signal {
		t.Errorf("waits for %v", got)
	}
	testkit.Must(t, l.Post(func() { raise(t, syscall.SIGUSR1) }))
	testkit.Run(t, l)
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

func TestSignalRaisedBeforeRunIsDelivered(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
		calls++
		testkit.Must(t, e.Del())
	})
	raise(t, syscall.SIGUSR1)
	testkit.Run(t, l)
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

// A signal that was raised before RunNonblock is delivered once, in that turn or in a later one: os/signal hands it over on a goroutine.
func TestSignalRaisedBeforeRunNonblockIsDelivered(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) { calls++ })
	raise(t, syscall.SIGUSR1)
	testkit.Until(t, "delivery", func() bool {
		testkit.Must(t, l.RunNonblock())
		return calls > 0
	})
	for range 10 {
		testkit.Must(t, l.RunNonblock())
	}
	testkit.WantEqual(t, "calls", calls, 1)
}

func TestSignalWorksAfterDelAndAdd(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	fn := func(e *event.Event, _ event.Flags) {
		calls++
		testkit.Must(t, e.Del())
	}
	a, b := newSignal(t, l, syscall.SIGUSR1, fn), newSignal(t, l, syscall.SIGUSR2, fn)
	for range 3 {
		testkit.Must(t, a.Del())
		testkit.Must(t, b.Del())
		testkit.Must(t, b.Add(event.NoTimeout))
		testkit.Must(t, a.Add(event.NoTimeout))
	}
	raise(t, syscall.SIGUSR1)
	raise(t, syscall.SIGUSR2)
	testkit.Run(t, l)
	if calls != 2 {
		t.Fatalf("%d calls", calls)
	}
}

func TestSignalReachesEveryEvent(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var calls [3]int
	for i := range calls {
		newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
			calls[i]++
			testkit.Must(t, e.Del())
		})
	}
	raise(t, syscall.SIGUSR1)
	testkit.Run(t, l)
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
	loops := []*event.Loop{testkit.NewLoop(t, nil), testkit.NewLoop(t, nil), testkit.NewLoop(t, nil)}
	for i, l := range loops {
		newSignal(t, l, syscall.SIGUSR1, tell(i))
	}
	testkit.Background(t, loops[0])
	testkit.Background(t, loops[1])
	raise(t, syscall.SIGUSR1)
	if a, b := testkit.Await(t, told, "call"), testkit.Await(t, told, "second call"); a+b != 1 {
		t.Fatalf("loops %d and %d were told", a, b)
	}
	stop := testkit.Background(t, loops[2])
	if i := testkit.Await(t, told, "call in the loop that began late"); i != 2 {
		t.Fatalf("loop %d was told", i)
	}
	stop()

	// One loop's Del leaves the others alone.
	testkit.Must(t, loops[0].Close())
	raise(t, syscall.SIGUSR1)
	if i := testkit.Await(t, told, "call after another loop's end"); i != 1 {
		t.Fatalf("loop %d was told", i)
	}
}

func TestSignalEventTimesOutWithoutSignal(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	told := event.Flags(0)
	e, err := l.NewEvent(int(syscall.SIGUSR1), event.Signal, func(_ *event.Event, what event.Flags) { told = what })
	testkit.Must(t, err)
	testkit.Must(t, e.Add(10*time.Microsecond))
	testkit.Run(t, l)
	if told != event.Timeout {
		t.Fatalf("told %v", told)
	}
}

func TestSignalRaisedInItsOwnCallbackComesAgain(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
		if calls++; calls == 5 {
			testkit.Must(t, e.Del())
			return
		}
		raise(t, syscall.SIGUSR1)
	})
	raise(t, syscall.SIGUSR1)
	testkit.Run(t, l)
	if calls != 5 {
		t.Fatalf("%d calls", calls)
	}
}

// yieldToDelivery yields so that a signal probably passes from os/signal to the loop. A test that needs certainty does not use it.
func yieldToDelivery() {
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
			l := testkit.NewLoop(t, &event.Config{PanicHandler: func(any, []byte) {}})
			var calls atomic.Int32
			newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) {
				calls.Add(1)
				c.do(l)
			})
			for range times {
				raise(t, syscall.SIGUSR1)
			}
			yieldToDelivery()
			testkit.Until(t, "every delivery", func() bool {
				testkit.Must(t, l.RunNonblock())
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
	l := testkit.NewLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
		if calls++; calls == 1 {
			raise(t, syscall.SIGUSR1)
			testkit.Until(t, "activation", func() bool { return e.Pending()&event.Signal != 0 })
			yieldToDelivery()
		}
	})
	for range 3 {
		raise(t, syscall.SIGUSR1)
	}
	yieldToDelivery()
	testkit.Until(t, "every delivery", func() bool {
		testkit.Must(t, l.RunNonblock())
		return calls >= 4
	})
	turns(t, l, 3)
	if calls != 4 {
		t.Fatalf("%d calls for 4 deliveries", calls)
	}
}

func TestSignalDelInCallbackCancelsPendingCalls(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) {
		calls++
		testkit.Must(t, e.Del())
	})
	raise(t, syscall.SIGUSR1)
	raise(t, syscall.SIGUSR1)
	yieldToDelivery()
	testkit.Run(t, l)
	turns(t, l, 3)
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

func TestSignalWithoutPersistIsOneShot(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	e, err := l.NewEvent(int(syscall.SIGUSR1), event.Signal, func(e *event.Event, _ event.Flags) {
		calls++
		if e.Added() {
			t.Error("still added in its callback")
		}
	})
	testkit.Must(t, err)
	for range 2 {
		testkit.Must(t, e.Add(event.NoTimeout))
		raise(t, syscall.SIGUSR1)
		testkit.Run(t, l)
	}
	if calls != 2 {
		t.Fatalf("%d calls", calls)
	}
}

func TestSignalDelDoesNotAffectOtherSignals(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	a := newSignal(t, l, syscall.SIGUSR1, func(*event.Event, event.Flags) { t.Error("called after Del") })
	newSignal(t, l, syscall.SIGUSR2, func(e *event.Event, _ event.Flags) {
		calls++
		testkit.Must(t, e.Del())
	})
	testkit.Must(t, a.Del())
	raise(t, syscall.SIGUSR1)
	raise(t, syscall.SIGUSR2)
	testkit.Run(t, l)
	if calls != 1 {
		t.Fatalf("%d calls", calls)
	}
}

// Other parts of the program that use os/signal neither disturb a loop nor are disturbed by it.
func TestSignalIsSharedWithOsSignal(t *testing.T) {
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, syscall.SIGUSR1)
	defer signal.Stop(ch)
	l := testkit.NewLoop(t, nil)
	e := newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, _ event.Flags) { testkit.Must(t, e.Del()) })
	raise(t, syscall.SIGUSR1)
	testkit.Await(t, ch, "delivery beside a loop")
	testkit.Run(t, l)
	if e.Added() {
		t.Error("still added")
	}
	raise(t, syscall.SIGUSR1)
	testkit.Await(t, ch, "delivery after a loop's Del")
}

func TestSignalThatCannotBeCaughtIsRefused(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fn := func(*event.Event, event.Flags) {}
	for _, n := range []int{-1, 0, int(syscall.SIGKILL), int(syscall.SIGSTOP), 65, 1 << 20} {
		_, err := l.NewEvent(n, event.Signal, fn)
		testkit.WantErr(t, err, event.ErrInvalid)
		testkit.Must(t, l.ActivateSignal(n)) // harmless
	}
	_, err := l.NewSignal(notASignal{}, fn)
	testkit.WantErr(t, err, event.ErrInvalid)
	_, err = l.NewSignal(syscall.SIGUSR1, nil)
	testkit.WantErr(t, err, event.ErrInvalid)
	for _, with := range []event.Flags{event.Read, event.Write, event.Closed, event.EdgeTriggered} {
		_, err := l.NewEvent(int(syscall.SIGUSR1), event.Signal|with, fn)
		testkit.WantErr(t, err, event.ErrInvalid)
	}
}

type notASignal struct{}

func (notASignal) String() string { return "not a signal" }
func (notASignal) Signal()        {}

func TestActivateSignalReachesItsEventsOnly(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	newSignal(t, l, syscall.SIGUSR1, func(e *event.Event, what event.Flags) {
		calls++
		if what != event.Signal {
			t.Errorf("told %v", what)
		}
		testkit.Must(t, e.Del())
	})
	other := newSignal(t, l, syscall.SIGUSR2, func(*event.Event, event.Flags) { t.Error("wrong signal") })
	testkit.Must(t, l.ActivateSignal(int(syscall.SIGUSR1)))
	turns(t, l, 2)
	testkit.Must(t, other.Del())
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
		l := testkit.NewLoop(t, nil)
		testkit.Background(t, l)
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
