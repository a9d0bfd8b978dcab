package memcache

import (
	"testing"
	"time"
)

// TestAPauseOfTheProgramIsNotAStallOfItsClients: a connection has stalled if many observations have found no progress, and not if there was none for a
// long time because the program did not run.
func TestAPauseOfTheProgramIsNotAStallOfItsClients(t *testing.T) {
	var p progress
	now := time.Unix(1_700_000_000, 0)
	p.observe(10, now)
	now = now.Add(time.Hour)
	if p.observe(10, now); p.stalled >= stalledAfter {
		t.Errorf("after a pause of an hour the connection has stalled for %v", p.stalled)
	}
	if p.observe(11, now); p.stalled != 0 {
		t.Errorf("after progress the connection has stalled for %v", p.stalled)
	}
	for range stalledAfter / tick {
		if p.stalled >= stalledAfter {
			t.Fatalf("the connection has stalled for %v too early", p.stalled)
		}
		now = now.Add(tick)
		p.observe(11, now)
	}
	if p.stalled < stalledAfter {
		t.Errorf("without progress for %v the connection has stalled for %v", stalledAfter, p.stalled)
	}
}
