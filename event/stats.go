package event

import "time"

// Stats counts what a loop has done since NewLoop.
type Stats struct {
	Turns     uint64 // turns of the loop
	Reports   uint64 // descriptors that the poller reported
	Callbacks uint64 // callbacks of events
	Posts     uint64 // functions given to Post that were called
	Timeouts  uint64 // timeouts that passed

	Wakes     uint64 // times that another goroutine ended the loop's sleep
	Coalesced uint64 // times that something came and no wake was needed: the loop was awake, or being woken

	Awake   time.Duration // time spent in turns, not asleep; see Busy
	Elapsed time.Duration // time since NewLoop

	Lag    time.Duration // how late the last timeout was seen
	MaxLag time.Duration // the longest such lag: the loop's reaction time at its worst

	LongestCallback time.Duration // only with Config.SlowCallback
	LongestName     string        // and whose it was

	Stale    uint64 // events that ended because their descriptor was closed before Del
	Stray    uint64 // reports for registrations that had ended
	Rebuilds uint64 // times that the poller was replaced to get rid of one that could not be removed

	Added     int // events that are added now
	MaxAdded  int // the most at a time, since NewLoop or ResetMax
	Active    int // events whose callback is to be called
	MaxActive int // the most at a time, since NewLoop or ResetMax
	Refs      int // Ref less Unref
	Waiting   int // functions given to Post that wait
}

// Busy is the share of the time in which the loop was awake, 0 to 1. Of turns that follow each other within 20 µs one in
// sixteen is timed and counts for all, so that a loop that hands over a message per microsecond does not pay for it.
func (s Stats) Busy() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return min(1, float64(s.Awake)/float64(s.Elapsed))
}

// Stats returns the counts of this moment. Any goroutine.
func (l *Loop) Stats() Stats {
	l.mu.Lock()
	now := l.readClock()
	defer l.mu.Unlock()
	s := l.stats
	s.Elapsed = now - l.born
	s.Awake = l.meter.read(now)
	s.Added, s.MaxAdded, s.Active, s.MaxActive = l.added, l.maxAdded, l.active.len, l.maxActive
	s.Refs, s.Waiting = l.refs, l.posts.len()
	return s
}

// ResetMax begins MaxAdded, MaxActive, MaxLag and LongestCallback anew. Any goroutine.
func (l *Loop) ResetMax() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.maxAdded, l.maxActive = l.added, l.active.len
	l.stats.MaxLag, l.stats.LongestCallback, l.stats.LongestName = 0, 0, ""
}

// PollTimeout is how long the loop would sleep now if no descriptor became ready: 0 if it would not sleep, since something is
// active, due timers wait for their turn, or the run is about to end; and false if it would sleep for ever. Any goroutine; meant
// for OnPrepare, and for a loop that is run by RunNonblock inside another.
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
