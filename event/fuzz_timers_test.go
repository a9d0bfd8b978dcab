package event_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// modelTimer is what a timer event should do: fire when its deadline comes, in the order of deadlines and, among equal
// ones, of Add.
type modelTimer struct {
	e        *event.Event
	persist  bool
	added    bool
	timed    bool
	deadline time.Duration
	interval time.Duration
	order    int // of the Add or the rearming that set the deadline
}

// timerModel is a loop with timers beside a sorted list that does the same.
type timerModel struct {
	clock *testkit.Clock
	l     *event.Loop
	all   []*modelTimer
	order int
	fired []int
}

func (m *timerModel) set(timer *modelTimer, deadline time.Duration) {
	m.order++
	timer.timed, timer.deadline, timer.order = true, deadline, m.order
}

// expect predicts the turn: the timers that are due, in order.
func (m *timerModel) expect() (fired []int) {
	now := m.clock.Now()
	due := []int{}
	for i, timer := range m.all {
		if timer.timed && timer.deadline <= now {
			due = append(due, i)
		}
	}
	slices.SortFunc(due, func(i, j int) int {
		a, b := m.all[i], m.all[j]
		if a.deadline != b.deadline {
			return int(a.deadline - b.deadline)
		}
		return a.order - b.order
	})
	for _, i := range due {
		timer := m.all[i]
		if !timer.persist {
			timer.added, timer.timed = false, false
			continue
		}
		next := timer.deadline + timer.interval
		if next <= now { // one call catches up
			next = now + timer.interval
		}
		m.set(timer, next)
	}
	return due
}

// Timers that are added, moved, deleted and left to fire in any order behave as a sorted list would.
func TestTimersBehaveAsASortedList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clock := testkit.NewClock()
		m := &timerModel{clock: clock, l: testkit.NewLoop(t, &event.Config{Clock: clock, Budget: event.Budget{Callbacks: event.Unlimited}})}
		defer m.l.Close()
		durations := rapid.Custom(func(rt *rapid.T) time.Duration {
			if rapid.Bool().Draw(rt, "short") {
				return time.Duration(rapid.IntRange(0, 4).Draw(rt, "few")) // many are equal
			}
			return time.Duration(rapid.IntRange(0, 1000).Draw(rt, "many"))
		})
		pick := func(rt *rapid.T) (int, *modelTimer) {
			if len(m.all) == 0 {
				rt.Skip()
			}
			i := rapid.IntRange(0, len(m.all)-1).Draw(rt, "timer")
			return i, m.all[i]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"new": func(rt *rapid.T) { m.make(t, rt, rapid.Bool().Draw(rt, "persist")) },
			"burst": func(rt *rapid.T) {
				for range 64 {
					m.add(t, m.make(t, rt, false), durations.Draw(rt, "timeout"))
				}
			},
			"Add": func(rt *rapid.T) {
				_, timer := pick(rt)
				m.add(t, timer, durations.Draw(rt, "timeout"))
			},
			"Add without timeout": func(rt *rapid.T) {
				_, timer := pick(rt)
				testkit.Must(t, timer.e.Add(event.NoTimeout))
				timer.added = true
			},
			"Del": func(rt *rapid.T) {
				_, timer := pick(rt)
				m.del(t, timer)
			},
			"SetTimeout to none": func(rt *rapid.T) {
				_, timer := pick(rt)
				if err := timer.e.SetTimeout(event.NoTimeout); timer.added {
					testkit.Must(t, err)
				} else {
					testkit.WantErr(t, err, event.ErrNotAdded)
				}
				timer.timed = false
			},
			"time passes": func(rt *rapid.T) {
				clock.Advance(durations.Draw(rt, "time"))
				m.fired = nil
				want := m.expect()
				testkit.Must(t, m.l.RunNonblock())
				if !slices.Equal(m.fired, want) {
					rt.Fatalf("at %v fired %v, want %v", clock.Now(), m.fired, want)
				}
			},
			"": func(rt *rapid.T) { m.compare(rt) },
		})
	})
}

// add adds a timer with the timeout d.
func (m *timerModel) add(t *testing.T, timer *modelTimer, d time.Duration) {
	t.Helper()
	testkit.Must(t, timer.e.Add(d))
	timer.added, timer.interval = true, d
	m.set(timer, m.clock.Now()+d)
}

// make makes a timer that records in the model when it fires.
func (m *timerModel) make(t *testing.T, rt *rapid.T, persist bool) *modelTimer {
	i := len(m.all)
	timer := &modelTimer{persist: persist}
	flags := event.Flags(0)
	if persist {
		flags = event.Persist
	}
	timer.e = eventFor(t, m.l, -1, flags, func(_ *event.Event, what event.Flags) {
		if what != event.Timeout {
			rt.Errorf("timer %d was told %v", i, what)
		}
		m.fired = append(m.fired, i)
	})
	m.all = append(m.all, timer)
	return timer
}

// compare asks the loop what it knows.
func (m *timerModel) compare(rt *rapid.T) {
	nearest, some := time.Duration(0), false
	added := 0
	for i, timer := range m.all {
		left, ok := timer.e.Remaining()
		want := max(0, timer.deadline-m.clock.Now())
		if ok != timer.timed || ok && left != want {
			rt.Fatalf("timer %d has %v, %v left; want %v, %v", i, left, ok, want, timer.timed)
		}
		if timer.e.Added() != timer.added {
			rt.Fatalf("timer %d is added: %v, want %v", i, timer.e.Added(), timer.added)
		}
		if timer.added {
			added++
		}
		if timer.timed && (!some || want < nearest) {
			nearest, some = want, true
		}
	}
	if d, ok := m.l.PollTimeout(); d != nearest || ok != some {
		rt.Fatalf("the loop would sleep for %v, %v; want %v, %v", d, ok, nearest, some)
	}
	if n := m.l.Stats().Added; n != added {
		rt.Fatalf("%d added, want %d", n, added)
	}
}

// del deletes a timer.
func (m *timerModel) del(t *testing.T, timer *modelTimer) {
	t.Helper()
	testkit.Must(t, timer.e.Del())
	timer.added, timer.timed = false, false
}
