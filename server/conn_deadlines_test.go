package server

import (
	"errors"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
)

// The cases are each deadline alone, one before another, one that is suspended, and one without a limit.
func TestTheNearestDeadlineIsIndependentOfTheOthers(t *testing.T) {
	const now = time.Hour
	limits := &Timeouts{FirstRequest: 10 * time.Second, Read: 20 * time.Second, Idle: 30 * time.Second, Write: 40 * time.Second, Close: 50 * time.Second}
	none := event.NoTimeout
	type begins map[deadline]time.Duration // how long ago
	for name, test := range map[string]struct {
		limits *Timeouts
		began  begins
		held   deadlineSet
		want   deadline
		left   time.Duration
	}{
		"nothing runs":                         {limits, begins{}, 0, noDeadline, none},
		"first request":                        {limits, begins{firstRequestDeadline: 0}, 0, firstRequestDeadline, 10 * time.Second},
		"read":                                 {limits, begins{readDeadline: 0}, 0, readDeadline, 20 * time.Second},
		"idle":                                 {limits, begins{idleDeadline: 0}, 0, idleDeadline, 30 * time.Second},
		"write":                                {limits, begins{writeDeadline: 0}, 0, writeDeadline, 40 * time.Second},
		"close":                                {limits, begins{closeDeadline: 0}, 0, closeDeadline, 50 * time.Second},
		"all at once":                          {limits, begins{firstRequestDeadline: 0, readDeadline: 0, idleDeadline: 0, writeDeadline: 0, closeDeadline: 0}, 0, firstRequestDeadline, 10 * time.Second},
		"the oldest of all":                    {limits, begins{firstRequestDeadline: 0, readDeadline: 0, idleDeadline: 0, writeDeadline: 35 * time.Second, closeDeadline: 0}, 0, writeDeadline, 5 * time.Second},
		"one that is over":                     {limits, begins{idleDeadline: time.Minute, writeDeadline: 0}, 0, idleDeadline, -30 * time.Second},
		"suspended beside one that runs":       {limits, begins{idleDeadline: time.Minute, writeDeadline: 20 * time.Second}, setOf(idleDeadline), writeDeadline, 20 * time.Second},
		"suspended alone is checked again":     {limits, begins{idleDeadline: time.Minute}, setOf(idleDeadline), noDeadline, 30 * time.Second},
		"suspended is checked before one ends": {limits, begins{readDeadline: time.Minute, writeDeadline: 0}, setOf(readDeadline), noDeadline, 20 * time.Second},
		"suspended but not started":            {limits, begins{writeDeadline: 0}, setOf(idleDeadline, readDeadline), writeDeadline, 40 * time.Second},
		"no limit":                             {&Timeouts{Idle: none, Read: none, FirstRequest: none, Write: none, Close: none}, begins{idleDeadline: 0, writeDeadline: 0}, 0, noDeadline, none},
		"no limit beside one that has one":     {&Timeouts{Idle: none, Read: none, FirstRequest: none, Write: time.Second, Close: none}, begins{idleDeadline: time.Minute, writeDeadline: 0}, 0, writeDeadline, time.Second},
		"no limit, suspended, beside one that has one": {&Timeouts{Idle: none, Read: none, FirstRequest: none, Write: none, Close: time.Second}, begins{idleDeadline: 0, closeDeadline: 0}, setOf(idleDeadline), closeDeadline, time.Second},
	} {
		var ds deadlines
		for d, ago := range test.began {
			ds.start(d, now-ago)
		}
		at, which := ds.nearest(now, test.limits, test.held)
		if which != test.want {
			t.Errorf("%s: the nearest is %v, want %v", name, which, test.want)
		}
		// A beginning is rounded up, never down.
		if late := at - now - test.left; test.left == none && at != none || test.left != none && (late < 0 || late > 2<<24) {
			t.Errorf("%s: it ends %v after now, want %v", name, at-now, test.left)
		}
	}
}

// A deadline is stopped, running or suspended. The test also checks which deadlines a byte restarts.
func TestADeadlineIsStoppedRunningOrSuspended(t *testing.T) {
	var ds deadlines
	is := func(d deadline, held deadlineSet, want deadlineState) {
		t.Helper()
		if got := ds.state(d, held); got != want {
			t.Errorf("%v is %v, want %v", d, got, want)
		}
	}
	for d := firstRequestDeadline; d <= closeDeadline; d++ {
		is(d, 0, deadlineStopped)
		is(d, setOf(d), deadlineStopped)
		ds.start(d, time.Minute)
		is(d, 0, deadlineRunning)
		is(d, setOf(d), deadlineSuspended)
		ds.stop(d)
		is(d, 0, deadlineStopped)
	}
	ds.sent(time.Hour)
	is(writeDeadline, 0, deadlineStopped) // nothing waited
	is(closeDeadline, 0, deadlineStopped)
	for d := firstRequestDeadline; d <= closeDeadline; d++ {
		ds.start(d, time.Minute)
	}
	ds.startOnce(writeDeadline, time.Hour)
	ds.received(2 * time.Minute)
	for d, want := range map[deadline]time.Duration{firstRequestDeadline: 1, readDeadline: 1, idleDeadline: 2, writeDeadline: 1, closeDeadline: 1} {
		if got := ds.end(d, time.Hour, 0).Round(time.Second); got != want*time.Minute {
			t.Errorf("after a byte of input %v counts from %v, want %v", d, got, want*time.Minute)
		}
	}
	ds.sent(3 * time.Minute)
	for d, want := range map[deadline]time.Duration{firstRequestDeadline: 1, readDeadline: 1, idleDeadline: 3, writeDeadline: 3, closeDeadline: 3} {
		if got := ds.end(d, time.Hour, 0).Round(time.Second); got != want*time.Minute {
			t.Errorf("after a byte of output %v counts from %v, want %v", d, got, want*time.Minute)
		}
	}
}

// No two of them are the same.
func TestEveryDeadlineHasANameAndAReason(t *testing.T) {
	seen := map[string]bool{}
	for d := noDeadline; d < numDeadlines; d++ {
		if seen[d.String()] || d.String() == "" {
			t.Errorf("deadline %d is named %q", uint8(d), d)
		}
		seen[d.String()] = true
		if d != noDeadline && d.reason() == nil {
			t.Errorf("%v has no reason", d)
		}
	}
	if err := closeDeadline.reason(); !errors.Is(err, ErrCloseTimeout) {
		t.Errorf("the reason of %v is %v", closeDeadline, err)
	}
	for s, want := range map[deadlineState]string{deadlineStopped: "stopped", deadlineRunning: "running", deadlineSuspended: "suspended"} {
		if s.String() != want {
			t.Errorf("state %d is named %q", uint8(s), s)
		}
	}
}

// A coarse time is never 0, which stands for no time, also after an overflow.
func TestACoarseTimeIsNeverEarlierThanItsTime(t *testing.T) {
	for _, at := range []time.Duration{0, 1, 1 << 24, 1<<24 - 1, time.Hour, 1 << 55, (1<<32 - 1) << 24, 1 << 56, 1<<56 + 5<<24} {
		m := coarse(at)
		if m == 0 {
			t.Errorf("the coarse time of %v is 0", at)
		}
		for _, later := range []time.Duration{0, time.Second, 24 * time.Hour} {
			if got := m.time(at + later); got < at || got > at+2<<24+1 {
				t.Errorf("%v later the coarse time of %v is %v", later, at, got)
			}
		}
	}
}
