package event

import "time"

// meter adds up the time in which a loop is awake. A reading of the clock takes a tenth of the time of the shortest turns. So if turns
// follow each other closely, only a random sample is timed, and each sampled turn is weighted by the sampling rate. The sum is an
// unbiased estimate.
type meter struct {
	sum    time.Duration
	since  time.Duration // when the loop woke
	weight time.Duration // of this interval: 1, sampleEvery if it is sampled, 0 if not
	random uint32
}

const (
	sampleEvery   = 16
	sampleBelow   = 20 * time.Microsecond
	measureAlways = time.Hour
)

// begin starts an interval of being awake at now. gap is the time since the previous one began.
func (m *meter) begin(now, gap time.Duration) {
	m.since, m.weight = now, 1
	if gap < sampleBelow {
		m.random = m.random*1664525 + 1013904223 // Knuth's linear congruence, Numerical Recipes' constants
		m.weight = 0
		if m.random>>28 == 0 {
			m.weight = sampleEvery
		}
	}
}

// endMeter ends the interval. It returns the time, or NoTimeout if the interval is not timed: then it does not read the clock. Under l.mu.
func (l *Loop) endMeter() time.Duration {
	m := &l.meter
	if m.weight == 0 {
		return NoTimeout
	}
	now := l.readClock()
	m.sum = m.read(now)
	m.weight = 0
	return now
}

// read returns the sum at the time now.
func (m *meter) read(now time.Duration) time.Duration {
	return m.sum + m.weight*(now-m.since)
}
