package event

import (
	"log/slog"
	"testing"
	"time"
	"unsafe"
)

// A loop may have an event for each of very many connections.
func TestEventIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Event{}); unsafe.Sizeof(uintptr(0)) == 8 && size > 96 {
		t.Errorf("an Event has %d bytes, more than 96", size)
	}
}

// idlePoller accepts everything and reports nothing.
type idlePoller struct{}

func (idlePoller) Name() string                             { return "idle" }
func (idlePoller) Features() Features                       { return FeatureConcurrent }
func (idlePoller) FD() int                                  { return -1 }
func (idlePoller) Add(int, Flags, uint64) error             { return nil }
func (idlePoller) Modify(int, Flags, uint64) error          { return nil }
func (idlePoller) Remove(int) error                         { return nil }
func (idlePoller) Wait([]Ready, time.Duration) (int, error) { return 0, nil }
func (idlePoller) Wake() error                              { return nil }
func (idlePoller) Close() error                             { return nil }

// The timers' heap has room for what is in it and little more, copies nothing as it grows, gives memory back as it shrinks, and
// allocates nothing for a number of timers that goes up and down.
func TestMemoryOfTimersIsBounded(t *testing.T) {
	const n, chunk = 10000, len(timerChunk{})
	l, err := NewLoop(&Config{IgnoreEnv: true, Logger: slog.New(slog.DiscardHandler), OpenPoller: func() (Poller, error) { return idlePoller{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	room := func() int { return len(l.timers[0].chunks) * chunk }
	events := make([]Event, n)
	for fd := range events {
		e := &events[fd]
		if err := l.InitEvent(e, fd, Read, func(*Event, Flags) {}); err != nil {
			t.Fatal(err)
		}
		if err := e.Add(time.Hour + time.Duration(fd)); err != nil {
			t.Fatal(err)
		}
		if room() > fd+1+chunk {
			t.Fatalf("room for %d with %d timers", room(), fd+1)
		}
	}
	for left := n - 1; left >= 0; left-- {
		if err := events[left].SetTimeout(NoTimeout); err != nil {
			t.Fatal(err)
		}
		if room() > left+2*chunk {
			t.Fatalf("room for %d with %d timers left", room(), left)
		}
	}
	for _, held := range []int{1, chunk, 3 * chunk} {
		for i := range held {
			if err := events[i].Add(time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if allocs := testing.AllocsPerRun(100, func() {
			if err := events[held].Add(time.Hour); err != nil {
				t.Fatal(err)
			}
			if err := events[held].SetTimeout(NoTimeout); err != nil {
				t.Fatal(err)
			}
		}); allocs != 0 {
			t.Errorf("%v allocations for adding a timer to %d and cancelling it", allocs, held)
		}
	}
}
