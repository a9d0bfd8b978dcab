package store

import "testing"

// The record of an evicted hash is found once after its bucket was split.
func TestGhostsSurviveTheSplit(t *testing.T) {
	var a arena
	var x index
	x.init()
	const n = 5000
	hash := func(i uint32) uint32 { return i * 2654435761 }
	for i := range uint32(n) {
		if i%10 == 0 {
			x.remember(hash(i))
		}
		x.grow(&a)
	}
	found := 0
	for i := uint32(0); i < n; i += 10 {
		if x.recall(hash(i)) {
			found++
		}
	}
	if found < n/10*9/10 {
		t.Errorf("%d of %d hashes are remembered", found, n/10)
	}
	for i := uint32(0); i < n; i += 10 {
		if x.recall(hash(i)) {
			t.Fatalf("hash %d is remembered after it was recalled", i)
		}
	}
}
