package event

// activeQueue holds the events whose callbacks are to run, first in, first out, one list for each priority. The links
// are in the events, so that nothing is allocated.
type activeQueue struct {
	lists      []activeList // for each priority
	len        int
	dispatches uint32 // begun so far; by it a dispatch distinguishes the events that become active meanwhile
}

type activeList struct {
	head, tail *Event
	len        int
}

func (q *activeQueue) push(e *Event) {
	list := &q.lists[e.priority]
	e.state |= stateActive
	e.dispatch = q.dispatches
	e.prevActive, e.nextActive = list.tail, nil
	if list.tail != nil {
		list.tail.nextActive = e
	} else {
		list.head = e
	}
	list.tail = e
	list.len++
	q.len++
}

func (q *activeQueue) remove(e *Event) {
	if e.state&stateActive == 0 {
		return
	}
	list := &q.lists[e.priority]
	if e.prevActive != nil {
		e.prevActive.nextActive = e.nextActive
	} else {
		list.head = e.nextActive
	}
	if e.nextActive != nil {
		e.nextActive.prevActive = e.prevActive
	} else {
		list.tail = e.prevActive
	}
	e.prevActive, e.nextActive = nil, nil
	e.state &^= stateActive | stateAsked | stateDelivered
	list.len--
	q.len--
}

// urgent returns the most urgent priority that has an active event, or len(q.lists) if there is none.
func (q *activeQueue) urgent() int {
	if q.len == 0 {
		return len(q.lists)
	}
	p := 0
	for q.lists[p].head == nil {
		p++
	}
	return p
}
