package event

import "time"

// timers is a heap of events by deadline and, among equal deadlines, by the order of Add. Four children per node make
// it half as deep as a binary heap, and the keys stand in the heap, so that comparing touches no event. It lies in chunks that
// never move: growing to a million timers copies nothing, and leaves nothing behind.
//
// A deadline that moves away does not move in the heap: the key stays behind as a lower bound and is corrected when it
// comes to the top. Idle timeouts, renewed with every request, therefore cost one store.
type timers struct {
	chunks []*timerChunk
	len    int
}

type timerChunk [256]timer

type timer struct {
	when time.Duration
	seq  uint64
	e    *Event
}

func (t timer) before(u timer) bool {
	return t.when < u.when || t.when == u.when && t.seq < u.seq
}

const arity = 4

// at is the place i of the heap.
func (t *timers) at(i int) *timer {
	return &t.chunks[uint(i)/uint(len(timerChunk{}))][uint(i)%uint(len(timerChunk{}))]
}

// set gives e the deadline and the sequence number that it holds now.
func (t *timers) set(e *Event) {
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

// remove takes e out; it is no error if it is not in.
func (t *timers) remove(e *Event) {
	if e.heapIndex < 0 {
		return
	}
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

// first returns the event whose deadline is nearest, nil where there is none.
func (t *timers) first() *Event {
	for t.len > 0 {
		top := *t.at(0)
		if top.when == top.e.deadline && top.seq == top.e.seq {
			return top.e
		}
		t.down(0, timer{top.e.deadline, top.e.seq, top.e})
	}
	return nil
}

func (t *timers) up(i int, n timer) {
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

func (t *timers) down(i int, n timer) {
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

func (t *timers) place(i int, n timer) {
	*t.at(i) = n
	n.e.heapIndex = int32(i)
}

// shrink gives a chunk back when another one is free, too, so that a number of timers that goes up and down allocates nothing.
func (t *timers) shrink() {
	if last := len(t.chunks) - 1; last > 0 && t.len <= (last-1)*len(timerChunk{}) {
		t.chunks[last] = nil
		t.chunks = t.chunks[:last]
	}
}
