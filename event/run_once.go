package event

import "time"

// A pass is the set of events that a RunOnce has to call: those that were active, and the timers that were due, before the first turn
// that calls a callback.
type pass struct {
	begun    bool
	dispatch uint32        // events of earlier dispatches belong to it
	now      time.Duration // timers up to this deadline belong to it,
	seq      uint64        // and of this very deadline those up to this number
	active   *Event        // the next of the remaining events to be called
	deadline *Event        // the next of the remaining timers to become active
}

// endedBy reports, after a turn, whether the pass is over: none of its events remain, or the turn has called none of them because of
// more urgent work. So a pass ends, whatever the callbacks activate. Under l.mu.
func (p *pass) endedBy(l *Loop) bool {
	if !p.begun {
		if l.called == 0 {
			return false
		}
		*p = pass{begun: true, dispatch: l.active.dispatches, now: l.Now(), seq: l.expired}
	}
	deadline := p.nextTimer(l.timers)
	if p.deadline != nil && deadline != p.deadline {
		p.dispatch = l.active.dispatches // timers of the pass became active in this turn
	}
	active := p.nextActive(&l.active)
	over := (active == nil || active == p.active) && (deadline == nil || deadline == p.deadline)
	p.active, p.deadline = active, deadline
	return over
}

// nextActive returns the most urgent active event of the pass, nil if there is none.
func (p *pass) nextActive(q *activeQueue) *Event {
	for i := range q.lists {
		if e := q.lists[i].head; e != nil && int32(e.dispatch-p.dispatch) < 0 {
			return e
		}
	}
	return nil
}

// nextTimer returns the most urgent timer of the pass, nil if there is none. Like timers.due, it uses the keys.
func (p *pass) nextTimer(t timers) *Event {
	last := timer{when: p.now, seq: p.seq}
	for i := range t {
		if h := &t[i]; h.len > 0 && !last.before(*h.at(0)) {
			return h.at(0).e
		}
	}
	return nil
}
