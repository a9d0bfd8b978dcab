package event_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// rankedTimer is what a timer of some priority should do.
type rankedTimer struct {
	modelTimer
	priority int
	active   bool // its time has come, and it waits for its call
}

// rankedModel is a loop with timers of several priorities and a budget, beside sorted lists that do the same.
type rankedModel struct {
	clock  *testkit.Clock
	l      *event.Loop
	budget int
	exempt int // priorities that the budget exempts
	all    []*rankedTimer
	queue  [][]*rankedTimer // active, by priority
	order  int
	fired  []int
}

// set gives a timer its deadline.
func (m *rankedModel) set(timer *rankedTimer, deadline time.Duration) {
	m.order++
	timer.timed, timer.deadline, timer.order = true, deadline, m.order
}

// withdraw takes a timer out of its queue.
func (m *rankedModel) withdraw(timer *rankedTimer) {
	q := &m.queue[timer.priority]
	*q = slices.DeleteFunc(*q, func(other *rankedTimer) bool { return other == timer })
	timer.active = false
}

// expire makes active what is due: the most urgent first, as many as the budget allows.
func (m *rankedModel) expire() {
	var due []*rankedTimer
	for _, timer := range m.all {
		if timer.timed && timer.deadline <= m.clock.Now() {
			due = append(due, timer)
		}
	}
	slices.SortFunc(due, func(a, b *rankedTimer) int {
		return cmp.Or(a.priority-b.priority, cmp.Compare(a.deadline, b.deadline), a.order-b.order)
	})
	left := m.budget
	for _, timer := range due {
		if timer.priority >= m.exempt {
			if left == 0 {
				break
			}
			left--
		}
		timer.timed, timer.active = false, true
		m.queue[timer.priority] = append(m.queue[timer.priority], timer)
	}
}

// turn predicts which timers are called in a turn, in order.
func (m *rankedModel) turn() (fired []int) {
	m.expire()
	level := slices.IndexFunc(m.queue, func(q []*rankedTimer) bool { return len(q) > 0 })
	if level < 0 {
		return nil
	}
	n := len(m.queue[level])
	if level >= m.exempt {
		n = min(n, m.budget)
	}
	for _, timer := range slices.Clone(m.queue[level][:n]) {
		m.withdraw(timer)
		fired = append(fired, slices.Index(m.all, timer))
		if !timer.persist {
			timer.added = false
			continue
		}
		next := timer.deadline + timer.interval
		if next <= m.clock.Now() {
			next = m.clock.Now() + timer.interval
		}
		m.set(timer, next)
	}
	return fired
}

// Timers of several priorities, with a budget, that are added, moved, given another priority, deleted and left to fire in any
// order behave as sorted lists would.
func TestTimersOfPrioritiesBehaveAsSortedLists(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clock := testkit.NewClock()
		levels := rapid.IntRange(1, 4).Draw(rt, "priorities")
		m := &rankedModel{clock: clock, queue: make([][]*rankedTimer, levels),
			budget: rapid.IntRange(1, 5).Draw(rt, "budget"), exempt: rapid.IntRange(0, levels-1).Draw(rt, "exempt")}
		m.l = testkit.NewLoop(t, &event.Config{Clock: clock, Priorities: levels, Budget: event.Budget{Callbacks: m.budget, MinPriority: m.exempt}})
		defer m.l.Close()
		times := rapid.Custom(func(rt *rapid.T) time.Duration { return time.Duration(rapid.IntRange(0, 20).Draw(rt, "time")) })
		pick := func(rt *rapid.T) *rankedTimer {
			if len(m.all) == 0 {
				rt.Skip()
			}
			return m.all[rapid.IntRange(0, len(m.all)-1).Draw(rt, "timer")]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"new": func(rt *rapid.T) { m.make(t, rt) },
			"Add": func(rt *rapid.T) {
				timer, d := pick(rt), times.Draw(rt, "timeout")
				testkit.Must(t, timer.e.Add(d))
				m.withdraw(timer)
				timer.added, timer.interval = true, d
				m.set(timer, clock.Now()+d)
			},
			"Del": func(rt *rapid.T) {
				timer := pick(rt)
				testkit.Must(t, timer.e.Del())
				m.withdraw(timer)
				timer.added, timer.timed = false, false
			},
			"SetPriority": func(rt *rapid.T) {
				timer, p := pick(rt), rapid.IntRange(0, levels-1).Draw(rt, "priority")
				if err := timer.e.SetPriority(p); timer.active {
					testkit.WantErr(t, err, event.ErrPending)
				} else {
					testkit.Must(t, err)
					timer.priority = p
				}
			},
			"turn": func(rt *rapid.T) {
				clock.Advance(times.Draw(rt, "passed"))
				m.fired = nil
				want := m.turn()
				testkit.Must(t, m.l.RunNonblock())
				if !slices.Equal(m.fired, want) {
					rt.Fatalf("at %v fired %v, want %v", clock.Now(), m.fired, want)
				}
			},
			"": func(rt *rapid.T) { m.compare(rt) },
		})
	})
}

// make makes a timer that records in the model when it fires.
func (m *rankedModel) make(t *testing.T, rt *rapid.T) {
	i := len(m.all)
	timer := &rankedTimer{priority: len(m.queue) / 2}
	timer.persist = rapid.Bool().Draw(rt, "persist")
	flags := event.Flags(0)
	if timer.persist {
		flags = event.Persist
	}
	timer.e = eventFor(t, m.l, -1, flags, func(_ *event.Event, what event.Flags) {
		if what != event.Timeout {
			rt.Errorf("timer %d was told %v", i, what)
		}
		m.fired = append(m.fired, i)
	})
	m.all = append(m.all, timer)
}

// compare asks the loop what it knows.
func (m *rankedModel) compare(rt *rapid.T) {
	nearest, some, active := time.Duration(0), false, 0
	for i, timer := range m.all {
		left, ok := timer.e.Remaining()
		want := max(0, timer.deadline-m.clock.Now())
		if ok != timer.timed || ok && left != want {
			rt.Fatalf("timer %d has %v, %v left; want %v, %v", i, left, ok, want, timer.timed)
		}
		if timer.e.Added() != timer.added || timer.e.Priority() != timer.priority {
			rt.Fatalf("timer %d: added %v, priority %d; want %v, %d", i, timer.e.Added(), timer.e.Priority(), timer.added, timer.priority)
		}
		if timer.active {
			active++
		}
		if timer.timed && (!some || want < nearest) {
			nearest, some = want, true
		}
	}
	if active > 0 {
		nearest, some = 0, true
	}
	if d, ok := m.l.PollTimeout(); d != nearest || ok != some {
		rt.Fatalf("the loop would sleep for %v, %v; want %v, %v", d, ok, nearest, some)
	}
	if n := m.l.Stats().Active; n != active {
		rt.Fatalf("%d active, want %d", n, active)
	}
}
