package event

import "time"

// Stats holds the counters and gauges of a loop. Counters only grow.
type Stats struct {
	Turns     uint64 // turns of the loop
	Reports   uint64 // descriptors that the poller reported
	Callbacks uint64 // callbacks of events
	Posts     uint64 // functions given to Post that were called
	Timeouts  uint64 // timeouts that passed

	Wakes     uint64 // times that another goroutine ended the loop's sleep
	Coalesced uint64 // activations and changes, also by the loop itself, made while it was awake or being woken

	Awake   time.Duration // time spent in turns, not asleep; see Busy
	Elapsed time.Duration // time since NewLoop

	Lag    time.Duration // how late the last timeout was noticed
	MaxLag time.Duration // the largest Lag since NewLoop or ResetMax

	LongestCallback time.Duration // only with Config.SlowCallback
	LongestName     string        // the name of that callback

	Stale       uint64 // events that ended because their descriptor was closed before Del
	LateReports uint64 // reports for registrations that had been removed
	Rebuilds    uint64 // times that the poller was replaced because a registration could not be removed

	Added        int // events that are added now
	MaxAdded     int // the largest value since NewLoop or ResetMax
	Active       int // events whose callback is to be called
	MaxActive    int // the largest value since NewLoop or ResetMax
	Refs         int // Ref less Unref
	PendingPosts int // functions given to Post that wait

	Parked  uint64 // sleeps of a parked goroutine; see DriverPark
	Blocked uint64 // sleeps of a blocked thread, see DriverThread; a wait that finds a descriptor ready counts as a sleep
}

// Busy returns the fraction of Elapsed in which the loop was awake, 0 to 1. If turns follow each other within 20 µs, a random sample
// of one in sixteen is timed, to save readings of the clock. Any goroutine.
func (s Stats) Busy() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return min(1, float64(s.Awake)/float64(s.Elapsed))
}

// Stats returns the current values. Any goroutine.
func (l *Loop) Stats() Stats {
	l.mu.Lock()
	now := l.readClock()
	defer l.mu.Unlock()
	s := l.stats
	s.Elapsed = now - l.created
	s.Awake = l.meter.read(now)
	s.Added, s.MaxAdded, s.Active, s.MaxActive = l.added, l.maxAdded, l.active.len, l.maxActive
	s.Refs, s.PendingPosts = l.refs, l.posts.len()
	return s
}

// ResetMax sets MaxAdded and MaxActive to the current values of Added and Active, MaxLag and LongestCallback to 0, and
// LongestName to "". Any goroutine.
func (l *Loop) ResetMax() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.maxAdded, l.maxActive = l.added, l.active.len
	l.stats.MaxLag, l.stats.LongestCallback, l.stats.LongestName = 0, 0, ""
}

// PollTimeout returns the time for which the loop would sleep now if no descriptor became ready. It is 0 if an event is
// active, a timer is due, or the run is about to end. It returns false if the loop would sleep without a limit. It serves functions
// given to OnPrepare, and a loop that is run by RunNonblock inside another loop. Any goroutine.
func (l *Loop) PollTimeout() (time.Duration, bool) {
	l.mu.Lock()
	now := l.readClock()
	defer l.mu.Unlock()
	switch deadline, ok := l.mayWait(); {
	case !ok:
		return 0, true
	case deadline == NoTimeout:
		return 0, false
	default:
		return max(0, deadline-now), true
	}
}
