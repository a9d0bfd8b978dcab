package sample

import "testing"

// All of the first calls are chosen, and later each of several calls that a loop makes in turn is chosen equally often.
func TestSamplerChoosesTheFirstCallsAndThenEachCallOfALoop(t *testing.T) {
	var s Sampler
	for n := range first {
		if !s.Next() {
			t.Fatalf("call %d was not chosen", n+1)
		}
	}
	for sites := 1; sites <= 32; sites++ {
		chosen := make([]int, sites)
		for n := range sites * every * 10 {
			if s.Next() {
				chosen[n%sites]++
			}
		}
		for site, n := range chosen {
			if n != 10 {
				t.Errorf("call %d of %d was chosen %d times in %d rounds, want 10", site, sites, n, every*10)
			}
		}
	}
}

// The choice itself allocates nothing.
func TestSamplerDoesNotAllocate(t *testing.T) {
	var s Sampler
	if n := testing.AllocsPerRun(1000, func() { s.Next() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
