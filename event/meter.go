package event

import "time"

// meter adds up the time in which a loop is awake. A reading of the clock costs a tenth of the shortest turns, so where
// turns follow each other fast only some are timed, chosen by chance and not by what they do, and each counts for
// as many as were not. The sum is an estimate without bias.
type meter struct {
	sum    time.Duration
	since  time.Duration // when the loop woke
	weight time.Duration // how many times this stretch counts: 1, sampleEvery, or 0 for not at all
	dice   uint32
}

const (
	sampleEvery   = 16
	sampleBelow   = 20 * time.Microsecond
	measureAlways = time.Hour
)

// begin starts a stretch at now, when interval has passed since the one before began.
func (m *meter) begin(now, interval time.Duration) {
	m.since, m.weight = now, 1
	if interval < sampleBelow {
		m.dice = m.dice*1664525 + 1013904223 // Knuth's linear congruence, Numerical Recipes' constants
		m.weight = 0
		if m.dice>>28 == 0 {
			m.weight = sampleEvery
		}
	}
}

// endMeter ends the stretch now. The clock is read only if that is needed. Under l.mu.
func (l *Loop) endMeter() {
	if m := &l.meter; m.weight > 0 {
		m.sum = m.read(l.readClock())
		m.weight = 0
	}
}

// read is the sum at the moment now.
func (m *meter) read(now time.Duration) time.Duration {
	return m.sum + m.weight*(now-m.since)
}
