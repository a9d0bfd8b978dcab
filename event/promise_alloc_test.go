package event_test

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// mallocs is how many objects the process has allocated so far.
func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// wantNoAllocation fails the test if work, which does something rounds times, allocates for each round. The rest of
// the process may allocate a little meanwhile; the first few rounds grow what is then kept.
func wantNoAllocation(t *testing.T, rounds int, work func(rounds int)) {
	t.Helper()
	work(rounds / 4)
	before := mallocs()
	work(rounds)
	if n := mallocs() - before; n > uint64(rounds)/10 {
		t.Errorf("%d allocations in %d rounds", n, rounds)
	}
}

// turnsWithoutAllocation arrange what a turn does.
var turnsWithoutAllocation = map[string]func(t *testing.T, l *event.Loop){
	"empty": func(*testing.T, *event.Loop) {},
	"ready descriptor": func(t *testing.T, l *event.Loop) {
		testkit.Must(t, eventFor(t, l, readable(t), event.Read|event.Persist, nothing).Add(event.NoTimeout))
	},
	"one-shot descriptor that adds itself": func(t *testing.T, l *event.Loop) {
		testkit.Must(t, eventFor(t, l, readable(t), event.Read, func(e *event.Event, _ event.Flags) {
			testkit.Must(t, e.Add(event.NoTimeout))
		}).Add(event.NoTimeout))
	},
	"descriptor with an idle timeout": func(t *testing.T, l *event.Loop) {
		testkit.Must(t, eventFor(t, l, readable(t), event.Read|event.Persist, nothing).Add(time.Hour))
	},
	"event that activates itself": func(t *testing.T, l *event.Loop) {
		e := eventFor(t, l, -1, 0, func(e *event.Event, _ event.Flags) { testkit.Must(t, e.Activate(0)) })
		testkit.Must(t, e.Activate(0))
	},
	"ticker": func(t *testing.T, l *event.Loop) {
		testkit.Must(t, eventFor(t, l, -1, event.Persist, nothing).Add(1))
	},
	"timer that is added and deleted": func(t *testing.T, l *event.Loop) {
		timer := silent(t, l, -1, 0)
		onCheck(t, l, func() {
			testkit.Must(t, timer.Add(time.Hour))
			testkit.Must(t, timer.Add(time.Minute))
			testkit.Must(t, timer.Del())
		})
	},
	"post that posts itself": func(t *testing.T, l *event.Loop) {
		var fn func()
		fn = func() { _ = l.Post(fn) } // refused when the loop closes
		testkit.Must(t, l.Post(fn))
	},
	"write to a socket that is read": func(t *testing.T, l *event.Loop) {
		_, _, fd, peer := pair(t)
		var buf [64]byte
		testkit.Must(t, eventFor(t, l, fd, event.Read|event.Persist, func(*event.Event, event.Flags) {
			_, err := unix.Read(fd, buf[:])
			testkit.Must(t, err)
			_, err = unix.Write(peer, buf[:1])
			testkit.Must(t, err)
		}).Add(event.NoTimeout))
		send(t, peer, "x")
	},
	"questions": func(t *testing.T, l *event.Loop) {
		e := silent(t, l, -1, 0)
		testkit.Must(t, e.Add(time.Hour))
		onCheck(t, l, func() {
			l.Now()
			l.OnLoop()
			l.Stats()
			l.PollTimeout()
			l.Interrupted()
			l.Ref()
			l.Unref()
			e.Pending()
			e.Added()
			e.Remaining()
			testkit.Must(t, e.Err())
		})
	},
}

// The turns of a loop allocate nothing, for every kind of event.
func TestTurnAllocatesNothing(t *testing.T) {
	for name, arrange := range turnsWithoutAllocation {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			arrange(t, l)
			wantNoAllocation(t, 400, func(rounds int) { turns(t, l, rounds) })
		})
	}
}

// Falling asleep and being woken by another goroutine, or by a timer, allocates nothing either.
func TestSleepAllocatesNothing(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	testkit.Background(t, l)
	ran := make(chan struct{})
	fn := func() { ran <- struct{}{} }
	timer := eventFor(t, l, -1, 0, func(*event.Event, event.Flags) { ran <- struct{}{} })
	user := eventFor(t, l, -1, 0, func(*event.Event, event.Flags) { ran <- struct{}{} })
	t.Run("post", func(t *testing.T) {
		wantNoAllocation(t, 1000, func(rounds int) {
			for range rounds {
				testkit.Must(t, l.Post(fn))
				<-ran
			}
		})
	})
	t.Run("activation", func(t *testing.T) {
		wantNoAllocation(t, 1000, func(rounds int) {
			for range rounds {
				testkit.Must(t, user.Activate(0))
				<-ran
			}
		})
	})
	t.Run("timer", func(t *testing.T) {
		wantNoAllocation(t, 100, func(rounds int) {
			for range rounds {
				testkit.Must(t, timer.Add(50*time.Microsecond))
				<-ran
			}
		})
	})
}

// The memory of a burst is released.
func TestBurstIsForgotten(t *testing.T) {
	const n = 50000
	l := testkit.NewLoop(t, &event.Config{PostLimit: event.Unlimited})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range n {
		testkit.Must(t, l.Post(func() {}))
	}
	timers := make([]*event.Event, n)
	for i := range timers {
		timers[i] = eventFor(t, l, -1, 0, func(*event.Event, event.Flags) {})
		testkit.Must(t, timers[i].Add(time.Hour))
	}
	for _, e := range timers {
		testkit.Must(t, e.Del())
	}
	clear(timers)
	testkit.Run(t, l)
	if after := heap(); after > before+1<<20 {
		t.Errorf("%d bytes are left of a burst", after-before)
	}
	runtime.KeepAlive(l)
}
