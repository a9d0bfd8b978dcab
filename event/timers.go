package event

import "time"

// timers holds the events that have a deadline, in a heap for each priority, so that an urgent timer that is due is found regardless of
// other due timers.
type timers []timerHeap

// set adds e, or updates its position, with its current deadline and sequence number.
func (t timers) set(e *Event) { t[e.priority].set(e) }

// remove removes e if it is present.
func (t timers) remove(e *Event) {
	if e.heapIndex >= 0 {
		t[e.priority].remove(e)
	}
}

// nearest returns the nearest deadline, or an earlier time if not all keys are correct; NoTimeout if there is none.
func (t timers) nearest() time.Duration {
	nearest := NoTimeout
	for p := range t {
		h := &t[p]
		if h.len == 0 {
			continue
		}
		if !h.at(0).current() {
			corrections := maxCorrections
			h.correct(NoTimeout, &corrections)
		}
		nearest = min(nearest, h.at(0).when)
	}
	return nearest
}

// due reports whether a deadline may have passed by now. It compares the keys, which are lower bounds.
func (t timers) due(now time.Duration) bool {
	for p := range t {
		if h := &t[p]; h.len > 0 && h.at(0).when <= now {
			return true
		}
	}
	return false
}

// timerHeap orders events by deadline and, among equal deadlines, by the order of Add. With four children per node
// it is half as deep as a binary heap, and the keys are in the heap, so that comparisons do not access the events. It is stored in
// chunks that never move, so that growth copies nothing.
//
// A deadline that is postponed does not move in the heap: its key remains as a lower bound and is corrected when it
// reaches the top. So an idle timeout that is renewed with every request costs one store.
type timerHeap struct {
	chunks []*timerChunk
	len    int
}

// maxCorrections bounds the number of keys that are corrected at a time. Otherwise a million connections that were accepted in one second
// and have been busy since would stop the loop for a tenth of a second when their first timeouts would have passed.
const maxCorrections = 1024

type timerChunk [256]timer

type timer struct {
	when time.Duration
	seq  uint64
	e    *Event
}

func (t timer) before(u timer) bool {
	return t.when < u.when || t.when == u.when && t.seq < u.seq
}

// current reports whether t is the event's current deadline, not an earlier one.
func (t *timer) current() bool { return t.when == t.e.deadline && t.seq == t.e.seq }

const arity = 4

// at returns the element i of the heap.
func (t *timerHeap) at(i int) *timer {
	return &t.chunks[uint(i)/uint(len(timerChunk{}))][uint(i)%uint(len(timerChunk{}))]
}

func (t *timerHeap) set(e *Event) {
	if e.heapIndex < 0 {
		if t.len == len(t.chunks)*len(timerChunk{}) {
			t.chunks = append(t.chunks, new(timerChunk))
		}
		t.len++
		t.up(t.len-1, timer{e.deadline, e.seq, e})
		return
	}
	i := int(e.heapIndex)
	if n := (timer{e.deadline, e.seq, e}); n.before(*t.at(i)) {
		t.up(i, n)
	}
}

func (t *timerHeap) remove(e *Event) {
	i, last := int(e.heapIndex), t.len-1
	moved := *t.at(last)
	*t.at(last) = timer{}
	t.len--
	t.shrink()
	e.heapIndex = -1
	switch {
	case i == last:
	case i > 0 && moved.before(*t.at((i - 1) / arity)):
		t.up(i, moved)
	default:
		t.down(i, moved)
	}
}

// first returns the event with the nearest deadline if that is not after now, else nil. It also returns nil if no corrections
// remain before it finds one.
func (t *timerHeap) first(now time.Duration, corrections *int) *Event {
	if t.len > 0 && t.correct(now, corrections) {
		return t.at(0).e
	}
	return nil
}

// correct moves outdated keys from the top to their positions, until the key at the top is current, is after now, or
// no corrections remain. It reports whether the event at the top has a deadline that is not after now.
func (t *timerHeap) correct(now time.Duration, corrections *int) bool {
	for {
		switch top := t.at(0); {
		case top.when > now:
			return false
		case top.current():
			return true
		case *corrections == 0:
			return false
		default:
			*corrections--
			t.down(0, timer{top.e.deadline, top.e.seq, top.e})
		}
	}
}

func (t *timerHeap) up(i int, n timer) {
	for i > 0 {
		parent := (i - 1) / arity
		if !n.before(*t.at(parent)) {
			break
		}
		t.place(i, *t.at(parent))
		i = parent
	}
	t.place(i, n)
}

func (t *timerHeap) down(i int, n timer) {
	for {
		child := i*arity + 1
		if child >= t.len {
			break
		}
		least := child
		for c := child + 1; c < min(child+arity, t.len); c++ {
			if t.at(c).before(*t.at(least)) {
				least = c
			}
		}
		if !t.at(least).before(n) {
			break
		}
		t.place(i, *t.at(least))
		i = least
	}
	t.place(i, n)
}

func (t *timerHeap) place(i int, n timer) {
	*t.at(i) = n
	n.e.heapIndex = int32(i)
}

// shrink releases a chunk if another one is free, too, so that a number of timers that rises and falls repeatedly allocates nothing.
func (t *timerHeap) shrink() {
	if last := len(t.chunks) - 1; last > 0 && t.len <= (last-1)*len(timerChunk{}) {
		t.chunks[last] = nil
		t.chunks = t.chunks[:last]
	}
}
