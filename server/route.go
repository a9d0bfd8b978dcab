package server

import (
	"sync/atomic"
	"time"
)

// The limits of handlers on a loop. A handler on a worker costs about 5 µs more than one on the loop, but while a handler runs on the loop
// all connections of the loop wait. So handlers of a route run on the loop while they take at most 50 µs on average, and have stalled the
// loop for at most 1 per cent of the time. Otherwise workers run them for a time, and then the loop tries them again.
const (
	maxInlineMean  = 50 * time.Microsecond
	maxSample      = 8 * maxInlineMean // so that a single sample, during which the system ran another process, does not decide
	maxTrialSample = 5 * maxInlineMean // so that one sample of routeTrials, whose sum decides a trial, does not decide it, and two do
	sampledCalls   = 16                // one of this number of calls is timed
	routeTrials    = 8                 // timed calls before a route is known to be quick
	minAway        = 100 * time.Millisecond
	maxAway        = 30 * time.Second
	stallShare     = 100                   // the part of the time that stalls may take is 1/stallShare
	maxStallCredit = 20 * time.Millisecond // the most that a route can save of that time: one stall
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

// A route has the measurements of the handlers of some requests on one loop. Only the loop's leader uses it, except for the counters.
type route struct {
	handler string // the type of the RequestHandler
	ex      *executor
	key     string
	state   routeState
	calls   uint32        // since the state began
	ran     uint64        // calls on the loop that countRan has not added to inline
	mean    time.Duration // of the timed calls; while it is tried, their sum

	isTried bool          // routeTried: a request of this turn is tried
	until   time.Duration // routeAway: when it is tried again
	away    time.Duration // the time for which workers run it next
	since   time.Duration // when the state began

	credit   time.Duration // the time for which it may still stall the loop
	earnedAt time.Duration // when credit was calculated

	inline, workers, takeovers, stalls atomic.Uint64 // the counters of RouteStats. Any goroutine
	longest                            atomic.Int64  // LongestHandler of RouteStats, in ns. The leader changes it
}

// newRoute makes a route that is tried first.
func newRoute(handler, key string, ex *executor, now time.Duration) *route {
	return &route{handler: handler, key: key, ex: ex, away: minAway, since: now, earnedAt: now}
}

// to begins a state.
func (r *route) to(s routeState, now time.Duration) {
	if s == routeAway {
		if r.state == routeInline && now-r.since > maxAway {
			r.away = minAway // it was quick for a long time
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

// isTimed counts the next call, and reports whether it has to be timed.
func (r *route) isTimed() bool {
	r.calls++
	return r.state != routeInline || r.calls%sampledCalls == 0
}

// countRan adds the calls since the last countRan to inline. One atomic operation for each call would be a part of its cost.
func (r *route) countRan() {
	if r.ran > 0 {
		r.inline.Add(r.ran)
		r.ran = 0
	}
}

// sample records the time of a timed call.
func (r *route) sample(now, took time.Duration) {
	switch r.state {
	case routeTried:
		r.isTried = false
		if r.mean += min(took, maxTrialSample); r.mean > routeTrials*maxInlineMean {
			r.to(routeAway, now)
		} else if r.calls >= routeTrials {
			r.mean /= routeTrials
			r.to(routeInline, now)
		}
	case routeInline:
		if r.mean += (min(took, maxSample) - r.mean) / 16; r.mean > maxInlineMean {
			r.to(routeAway, now)
		}
	}
}

// takenOver records that the leadership was taken from a handler of the route, which has delayed the loop for the time had. byHandler is
// that of takeOver.
func (r *route) takenOver(now, had time.Duration, byHandler bool) {
	r.ran++
	r.countRan()
	r.takeovers.Add(1)
	if byHandler && r.state == routeInline { // the loop was not delayed, but a worker would have cost less
		r.sample(now, maxSample)
		return
	}
	if !byHandler {
		r.stalls.Add(1)
		r.credit = min(r.credit+(now-r.earnedAt)/stallShare, maxStallCredit) - had
		r.earnedAt = now
	}
	if r.credit < 0 || r.state == routeTried {
		r.credit = 0
		r.to(routeAway, now)
	}
}
