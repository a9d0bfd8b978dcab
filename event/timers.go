package event

import "time"

// timers is a heap of events by deadline and, among equal deadlines, by the order of Add. Four children per node make
// it half as deep as a binary heap, and the keys stand in the slice, so that comparing touches no event.
//
// A deadline that moves away does not move in the heap: the key stays behind as a lower bound and is corrected when it
// comes to the top. Idle timeouts, renewed with every request, therefore cost one store.
type timers struct{ heap []timer }

type timer struct {
	when time.Duration
	seq  uint64
	e    *Event
}

func (t timer) before(u timer) bool {
	return t.when < u.when || t.when == u.when && t.seq < u.seq
}

const arity = 4

// set gives e the deadline and the sequence number that it holds now.
func (t *timers) set(e *Event) {
	if e.heapIndex < 0 {
		t.heap = append(t.heap, timer{})
		t.up(len(t.heap)-1, timer{e.deadline, e.seq, e})
		return
	}
	i := int(e.heapIndex)
	if n := (timer{e.deadline, e.seq, e}); n.before(t.heap[i]) {
		t.up(i, n)
	}
}

// remove takes e out; it is no error if it is not in.
func (t *timers) remove(e *Event) {
	if e.heapIndex < 0 {
		return
	}
	i, last := int(e.heapIndex), len(t.heap)-1
	moved := t.heap[last]
	t.heap[last] = timer{}
	t.heap = t.heap[:last]
	e.heapIndex = -1
	if i == last {
		t.shrink()
		return
	}
	if i > 0 && moved.before(t.heap[(i-1)/arity]) {
		t.up(i, moved)
	} else {
		t.down(i, moved)
	}
	t.shrink()
}

// first returns the event whose deadline is nearest, nil where there is none.
func (t *timers) first() *Event {
	for len(t.heap) > 0 {
		top := t.heap[0]
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
		if !n.before(t.heap[parent]) {
			break
		}
		t.place(i, t.heap[parent])
		i = parent
	}
	t.place(i, n)
}

func (t *timers) down(i int, n timer) {
	for {
		child := i*arity + 1
		if child >= len(t.heap) {
			break
		}
		least := child
		for c := child + 1; c < min(child+arity, len(t.heap)); c++ {
			if t.heap[c].before(t.heap[least]) {
				least = c
			}
		}
		if !t.heap[least].before(n) {
			break
		}
		t.place(i, t.heap[least])
		i = least
	}
	t.place(i, n)
}

func (t *timers) place(i int, n timer) {
	t.heap[i] = n
	n.e.heapIndex = int32(i)
}

// shrink gives memory back when a quarter of it would do, so that a burst of timers is not kept for ever.
func (t *timers) shrink() {
	if c := cap(t.heap); c > 256 && len(t.heap) <= c/4 {
		t.heap = append(make([]timer, 0, c/2), t.heap...)
	}
}
