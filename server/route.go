package server

import (
	"sync/atomic"
	"time"
)

// The limits of handlers on a loop. A handler on a worker costs about 5 µs more than one on the loop, and while one runs on the loop all
// connections of the loop wait. So handlers of a route run on the loop while they take 50 µs on average, and the time that they have stalled it is 1
// per cent of all time at most. Otherwise workers run them for a while, before the loop tries again.
const (
	maxInlineMean  = 50 * time.Microsecond
	maxSample      = 8 * maxInlineMean // so that one sample, in which the system has run another process, decides nothing
	sampledCalls   = 16                // one call of so many is timed
	routeTrials    = 8                 // calls, all timed, before a route is known to be quick
	minAway        = 100 * time.Millisecond
	maxAway        = 30 * time.Second
	stallShare     = 100                   // the part of the time that stalls may take is 1/stallShare
	maxStallCredit = 20 * time.Millisecond // what a route may save of it: one stall
)

// routeState says where the requests of a route run.
type routeState uint8

const (
	routeTried  routeState = iota // on the loop, one in each turn, each timed
	routeInline                   // on the loop
	routeAway                     // on workers, for a time
)

var routeStates = [...]string{routeTried: "tried", routeInline: "inline", routeAway: "away"}

// String returns the state's name.
func (s routeState) String() string { return routeStates[s] }

// A route is what a loop knows about the handlers of some requests. It belongs to the loop's leader, but for the counters.
type route struct {
	key   string
	state routeState
	calls uint32        // since the state began
	mean  time.Duration // of the timed calls; while it is tried, their sum

	isTried bool          // routeTried: a request of this turn is tried
	until   time.Duration // routeAway: when it is tried again
	away    time.Duration // the time for which workers run it next
	since   time.Duration // when the state began

	credit   time.Duration // the time for which it may still stall the loop
	earnedAt time.Duration // when credit was calculated

	inline, workers, takeovers, stalls atomic.Uint64 // the counters of RouteStats. Any goroutine
}

func newRoute(key string, now time.Duration) *route {
	return &route{key: key, away: minAway, since: now, earnedAt: now}
}

// to begins a state.
func (r *route) to(s routeState, now time.Duration) {
	if s == routeAway {
		if r.state == routeInline && now-r.since > maxAway {
			r.away = minAway // it was quick for long
		}
		r.until = now + r.away
		r.away = min(2*r.away, maxAway)
	}
	r.state, r.since, r.calls, r.isTried = s, now, 0, false
	if s != routeInline {
		r.mean = 0
	}
}

// admits reports whether the next request may run on the loop.
func (r *route) admits(now time.Duration) bool {
	if r.state == routeAway && now >= r.until {
		r.to(routeTried, now)
	}
	switch {
	case r.state == routeInline:
		return true
	case r.state == routeTried && !r.isTried:
		r.isTried = true
		return true
	}
	return false
}

// isTimed reports whether the next call is to be timed.
func (r *route) isTimed() bool {
	r.calls++
	return r.state != routeInline || r.calls%sampledCalls == 0
}

// sample records the time of a timed call.
func (r *route) sample(now, took time.Duration) {
	took = min(took, maxSample)
	switch r.state {
	case routeTried:
		r.isTried = false
		if r.mean += took; r.mean > routeTrials*maxInlineMean {
			r.to(routeAway, now)
		} else if r.calls >= routeTrials {
			r.mean /= routeTrials
			r.to(routeInline, now)
		}
	case routeInline:
		if r.mean += (took - r.mean) / 16; r.mean > maxInlineMean {
			r.to(routeAway, now)
		}
	}
}

// takenOver records that the leadership was taken from a handler, which had the loop for the given time. yielded reports whether the handler
// has said that it will block.
func (r *route) takenOver(now, had time.Duration, yielded bool) {
	r.inline.Add(1)
	r.takeovers.Add(1)
	if !yielded {
		r.stalls.Add(1)
	}
	r.credit = min(r.credit+(now-r.earnedAt)/stallShare, maxStallCredit) - had
	r.earnedAt = now
	if yielded && r.state == routeInline {
		r.credit = max(r.credit, 0)
		r.sample(now, maxSample)
		return
	}
	if r.credit < 0 || r.state == routeTried {
		r.credit = 0
		r.to(routeAway, now)
	}
}
