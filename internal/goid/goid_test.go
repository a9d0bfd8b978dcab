package goid

import (
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestGoroutinesHaveDifferentNumbersThatDoNotChange(t *testing.T) {
	mine, others := Current(), make(chan uint64)
	for range 100 {
		go func() { others <- Current() }()
	}
	seen := map[uint64]bool{mine: true}
	for range 100 {
		id := <-others
		if seen[id] {
			t.Errorf("two goroutines have the number %d", id)
		}
		seen[id] = true
	}
	if again := Of(make([]byte, 64)); again != mine {
		t.Errorf("the number of this goroutine was %d and is %d", mine, again)
	}
}

func TestCurrentDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(1000, func() { Current() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
