package main

import (
	"testing"
)

// Every library keeps small items, and answers a good part of a skewed trace.
func TestComparesLibraries(t *testing.T) {
	for _, l := range libraries {
		c, err := measure(l, 20000)
		if err != nil || c.bytes < 42 || c.hit <= 0 || c.miss <= 0 || c.set <= 0 {
			t.Errorf("%s: %+v, %v", l.name, c, err)
		}
		share, err := answered(l, traces[2], 8<<20, max(0, int(c.bytes)-payload), 20000, 50000)
		if err != nil || share < 0.3 {
			t.Errorf("%s answers %.2f, %v", l.name, share, err)
		}
	}
}
