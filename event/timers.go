package event

import "time"

// timers holds the events that have a deadline, a heap for each priority: an urgent timer that is due is found whatever
// else is due.
type timers []timerHeap

// set gives e the deadline and the sequence number that it holds now.
func (t timers) set(e *Event) { t[e.priority].set(e) }

// remove takes e out; it is no error if it is not in.
func (t timers) remove(e *Event) {
	if e.heapIndex >= 0 {
		t[e.priority].remove(e)
	}
}

// nearest returns the time of the nearest deadline, or one before it; NoTimeout if there is none.
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

// due reports whether a deadline is not after now, or may be: it reads the keys.
func (t timers) due(now time.Duration) bool {
	for p := range t {
		if h := &t[p]; h.len > 0 && h.at(0).when <= now {
			return true
		}
	}
	return false
}

// timerHeap orders events by deadline and, among equal deadlines, by the order of Add. Four children per node make
// it half as deep as a binary heap, and the keys are in the heap, so that comparing touches no event. It lies in chunks that
// never move: growing to a million timers copies nothing, and leaves nothing behind.
//
// A deadline that moves away does not move in the heap: the key stays behind as a lower bound and is corrected when it
// comes to the top. Idle timeouts, renewed with every request, therefore cost one store.
type timerHeap struct {
	chunks []*timerChunk
	len    int
}

// maxCorrections bounds how many keys one look corrects. A million connections that were accepted in one second and have been
// busy since would else stop the loop for a tenth of a second when their first timeouts would have passed.
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

// current reports whether t is the event's deadline of now, and not one that it has moved away from.
func (t *timer) current() bool { return t.when == t.e.deadline && t.seq == t.e.seq }

const arity = 4

// at is the place i of the heap.
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

// first returns the event whose deadline is nearest if it is not after now; else nil. It returns nil, too, if it has no
// corrections left before it finds one.
func (t *timerHeap) first(now time.Duration, corrections *int) *Event {
	if t.len > 0 && t.correct(now, corrections) {
		return t.at(0).e
	}
	return nil
}

// correct moves keys that are out of date from the top to their places, until the key at the top is not, is after now, or
// there are no corrections left. It reports whether the event at the top has a deadline that is not after now.
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

// shrink gives a chunk back when another one is free, too, so that a number of timers that goes up and down allocates nothing.
func (t *timerHeap) shrink() {
	if last := len(t.chunks) - 1; last > 0 && t.len <= (last-1)*len(timerChunk{}) {
		t.chunks[last] = nil
		t.chunks = t.chunks[:last]
	}
}
