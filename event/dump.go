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
// activation. The loop's own are left out. It is a copy; the events may change as soon as it is made. Any goroutine.
func (l *Loop) Events() []*Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list()
}

func (l *Loop) list() []*Event {
	var all []*Event
	seen := map[*Event]bool{}
	enter := func(e *Event) {
		if e.state&stateInternal == 0 && !seen[e] {
			seen[e] = true
			all = append(all, e)
		}
	}
	for _, row := range l.fds.all() {
		for e := row.head; e != nil; e = e.nextPeer {
			enter(e)
		}
	}
	for _, n := range sortedSignals(l.signals) {
		for _, e := range l.signals[n].events {
			enter(e)
		}
	}
	for _, e := range l.timers.sorted() {
		enter(e)
	}
	for e := range l.users {
		enter(e)
	}
	for _, lv := range l.active.levels {
		for e := lv.head; e != nil; e = e.nextActive {
			enter(e)
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

// Dump writes what the loop knows, a line for each event, for people to read; the form may change. Any goroutine.
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

// ActivateFD activates the events that wait for fd with what of it they asked for, as if the descriptor were ready. Other
// descriptors, and ones without events, are left alone. Errors: ErrInvalid, ErrClosed. Any goroutine.
func (l *Loop) ActivateFD(fd int, what Flags) error {
	if what&^(readiness|Timeout) != 0 {
		return fmt.Errorf("activate descriptor %d: %w", fd, invalid("conditions %v", what))
	}
	l.mu.Lock()
	err := l.openError("activate descriptor", fd)
	if row := l.entry(fd); err == nil && row != nil {
		for e := row.head; e != nil; e = e.nextPeer {
			if hit := what & (e.conditions | Timeout); hit != 0 {
				l.activate(e, hit)
			}
		}
	}
	l.unlock()
	return err
}

// ActivateSignal calls Activate(Signal) of the events that wait for the signal of this number; where there are none, or a signal
// cannot have this number, it does nothing. Only deliveries of the system are counted: what is activated several times is called
// once, together with a delivery that waits or comes before the call. Errors: ErrClosed. Any goroutine.
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
