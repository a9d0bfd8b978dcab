package event

// activeQueue holds the events whose callbacks are to run, first in, first out, one list for each priority. The links
// are in the events, so that nothing is allocated.
type activeQueue struct {
	levels []activeLevel
	len    int
	wave   uint32 // counts the dispatches; it distinguishes events that became active during one from those that were active before
}

type activeLevel struct {
	head, tail *Event
	len        int
}

func (q *activeQueue) push(e *Event) {
	lv := &q.levels[e.priority]
	e.state |= stateActive
	e.wave = q.wave
	e.prevActive, e.nextActive = lv.tail, nil
	if lv.tail != nil {
		lv.tail.nextActive = e
	} else {
		lv.head = e
	}
	lv.tail = e
	lv.len++
	q.len++
}

func (q *activeQueue) remove(e *Event) {
	if e.state&stateActive == 0 {
		return
	}
	lv := &q.levels[e.priority]
	if e.prevActive != nil {
		e.prevActive.nextActive = e.nextActive
	} else {
		lv.head = e.nextActive
	}
	if e.nextActive != nil {
		e.nextActive.prevActive = e.prevActive
	} else {
		lv.tail = e.prevActive
	}
	e.prevActive, e.nextActive = nil, nil
	e.state &^= stateActive | stateAsked | stateDelivered
	lv.len--
	q.len--
}

// urgent returns the most urgent priority that has an active event, or len(levels) where there is none.
func (q *activeQueue) urgent() int {
	if q.len == 0 {
		return len(q.levels)
	}
	p := 0
	for q.levels[p].head == nil {
		p++
	}
	return p
}
