package event

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Events returns the events that are added or active, in the order of descriptor, then signal, then deadline, then
// activation. The loop's internal events are left out. The slice is the caller's; the events may change at any time. Any goroutine.
func (l *Loop) Events() []*Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list()
}

func (l *Loop) list() []*Event {
	var all []*Event
	seen := map[*Event]bool{}
	include := func(e *Event) {
		if e.state&stateInternal == 0 && !seen[e] {
			seen[e] = true
			all = append(all, e)
		}
	}
	for _, desc := range l.descriptors.all() {
		for e := desc.head; e != nil; e = e.nextPeer {
			include(e)
		}
	}
	for _, n := range sortedSignals(l.signals) {
		for _, e := range l.signals[n].events {
			include(e)
		}
	}
	for _, e := range l.timers.sorted() {
		include(e)
	}
	for e := range l.untimed {
		include(e)
	}
	for _, list := range l.active.lists {
		for e := list.head; e != nil; e = e.nextActive {
			include(e)
		}
	}
	return all
}

func sortedSignals(m map[int]*signalSource) []int {
	var ns []int
	for n := range m {
		ns = append(ns, n)
	}
	slices.Sort(ns)
	return ns
}

// sorted returns the events by deadline.
func (t timers) sorted() []*Event {
	var all []*Event
	for p := range t {
		for i := range t[p].len {
			all = append(all, t[p].at(i).e)
		}
	}
	slices.SortFunc(all, func(a, b *Event) int {
		return cmp.Or(cmp.Compare(a.deadline, b.deadline), cmp.Compare(a.seq, b.seq))
	})
	return all
}

// Dump writes the loop's state to w as text, one line for each event. The format may change. Any goroutine.
func (l *Loop) Dump(w io.Writer) error {
	var b strings.Builder
	backend := l.Backend()
	l.mu.Lock()
	now := l.readClock()
	fmt.Fprintf(&b, "loop %s/%s: %s, %d added, %d active, %d posts\n", backend, l.driver.name(), l.state, l.added, l.active.len, l.posts.len())
	for _, e := range l.list() {
		e.dump(&b, now)
	}
	l.mu.Unlock()
	_, err := io.WriteString(w, b.String())
	return err
}

func (e *Event) dump(b *strings.Builder, now time.Duration) {
	switch {
	case e.kind&Signal != 0:
		fmt.Fprintf(b, "  signal %d", e.fd)
	case e.fd >= 0:
		fmt.Fprintf(b, "  fd %d", e.fd)
	case e.kind&Persist != 0 && e.heapIndex >= 0:
		fmt.Fprint(b, "  ticker")
	case e.heapIndex >= 0:
		fmt.Fprint(b, "  timer")
	default:
		fmt.Fprint(b, "  user")
	}
	fmt.Fprintf(b, " [%v] priority %d", e.flags(), e.priority)
	if e.heapIndex >= 0 {
		fmt.Fprintf(b, ", due in %v", e.deadline-now)
	}
	if e.state&stateActive != 0 {
		fmt.Fprintf(b, ", active with %v", e.what)
	}
	fmt.Fprintf(b, ", %s\n", e.callbackName())
}

// ActivateFD activates the events of fd as if the descriptor were ready for what; each event gets the conditions that it waits for.
// If fd has no events, ActivateFD does nothing. Errors: ErrInvalid, ErrClosed. Any goroutine.
func (l *Loop) ActivateFD(fd int, what Flags) error {
	if what&^(readiness|Timeout) != 0 {
		return fmt.Errorf("activate descriptor %d: %w", fd, invalid("conditions %v", what))
	}
	l.mu.Lock()
	err := l.openError("activate descriptor", fd)
	if desc := l.descriptor(fd); err == nil && desc != nil {
		for e := desc.head; e != nil; e = e.nextPeer {
			if hit := what & (e.conditions | Timeout); hit != 0 {
				l.activate(e, hit)
			}
		}
	}
	l.unlock()
	return err
}

// ActivateSignal calls Activate(Signal) on the events that wait for signal n. If there are none it does nothing. Only deliveries by the
// system are counted: several activations are one call, together with deliveries that come before the call. Errors: ErrClosed. Any
// goroutine.
func (l *Loop) ActivateSignal(n int) error {
	l.mu.Lock()
	err := l.openError("activate signal", n)
	if src := l.signals[n]; err == nil && src != nil {
		for _, e := range src.events {
			l.activate(e, Signal)
		}
	}
	l.unlock()
	return err
}

func (l *Loop) openError(op string, n int) error {
	if l.state != loopOpen {
		return fmt.Errorf("%s %d: %w", op, n, ErrClosed)
	}
	return nil
}
