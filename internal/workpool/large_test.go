package workpool

import (
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// Of a large pool, as many goroutines exist as jobs have run at the same time; when they have ended, keptWorkers are left. The number of jobs
// that run has the bound all the same.
func TestALargePoolHasWorkersWhenItNeedsThem(t *testing.T) {
	const workers, jobs = 500, 700
	s := newStage(t, workers)
	s.wantGoroutines(t, keptWorkers)
	for range 3 {
		release := make(chan struct{})
		var ran sync.WaitGroup
		for range jobs {
			ran.Add(1)
			for s.Submit([]Job{call(func() { <-release; ran.Done() })}, nil) == 0 {
				t.Fatal("the queue is full")
			}
		}
		s.wantRunning(t, workers, true)
		s.wantGoroutines(t, workers)
		close(release)
		testkit.Within(t, "the end of the jobs", ran.Wait)
		s.wantRunning(t, 0, false)
		s.wantGoroutines(t, keptWorkers)
	}
}
