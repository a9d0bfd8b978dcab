package workpool

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// stage is a pool and leaders that do what the test says.
type stage struct{ *Pool[Job] }

func newStage(t *testing.T, workers int) *stage {
	t.Helper()
	s := &stage{New[Job](workers, 1000)}
	t.Cleanup(func() {
		s.Close()
		testkit.Within(t, "the end of the pool", s.Wait)
	})
	return s
}

// A stuck leader leads until end is given a value, the result of its function.
type stuck struct {
	begun chan struct{}
	end   chan Exit
}

func newStuck() *stuck { return &stuck{make(chan struct{}), make(chan Exit, 1)} }

func (l *stuck) lead() Exit {
	close(l.begun)
	return <-l.end
}

// lead starts a leader with fn, which is Lead or Replace, and waits until it leads.
func lead(t *testing.T, fn func(func() Exit)) *stuck {
	t.Helper()
	l := newStuck()
	fn(l.lead)
	testkit.Await(t, l.begun, "the leader's begin")
	return l
}

// replace is Replace of a leader whose job counts as a worker's.
func (s *stage) replace(lead func() Exit) { s.Replace(lead, false) }

// wantGoroutines waits until the pool has n goroutines, leaders included. Those of the test before may still be ending.
func (s *stage) wantGoroutines(t *testing.T, n int) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	testkit.Until(t, "the pool's number of goroutines", func() bool {
		return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("workpool.(*Pool[...]).work(")) == n
	})
}

func (s *stage) wantRunning(t *testing.T, n int, busy bool) {
	t.Helper()
	testkit.Until(t, "the number of jobs that run", func() bool { return s.Counts().Running == n })
	if s.IsBusy() != busy {
		t.Errorf("with %d jobs that run, IsBusy is %v", n, !busy)
	}
}

// run has a worker run a job, and waits for its end.
func (s *stage) run(t *testing.T) {
	t.Helper()
	done := make(chan struct{})
	submit(s.Pool, []call{func() { close(done) }}, nil)
	testkit.Await(t, done, "a job")
}

// hold has a worker run a job until release is closed.
func (s *stage) hold(t *testing.T, release chan struct{}) {
	t.Helper()
	begun := make(chan struct{})
	submit(s.Pool, []call{func() { close(begun); <-release }}, nil)
	testkit.Await(t, begun, "a job's begin")
}

// A leader is no worker: it does not count as a job, and Wait does not wait for it.
func TestALeaderIsNoWorker(t *testing.T) {
	s := newStage(t, 1)
	l := lead(t, s.Lead)
	s.wantRunning(t, 0, false)
	s.wantGoroutines(t, 2)
	s.run(t)
	s.Close()
	testkit.Within(t, "Wait", s.Wait)
	s.wantGoroutines(t, 1)
	l.end <- LeadOver
	s.wantGoroutines(t, 0)
}

// The handler of a leader that was replaced counts as a job until the leader's function returns. Then IsBusy may become false.
func TestAReplacedLeaderCountsAsAJob(t *testing.T) {
	s := newStage(t, 2)
	first := lead(t, s.Lead)
	second := lead(t, s.replace)
	s.wantRunning(t, 1, false)
	third := lead(t, s.replace)
	s.wantRunning(t, 2, true)
	fourth := lead(t, s.replace)
	s.wantRunning(t, 3, true)
	first.end <- LeadReplaced
	s.wantRunning(t, 2, true)
	third.end <- LeadReplaced
	s.wantRunning(t, 1, false)
	second.end <- LeadReplaced
	s.wantRunning(t, 0, false)
	fourth.end <- LeadOver
	s.wantGoroutines(t, 2)
}

// A leader that is replaced apart takes the place of no worker: as many jobs run beside it as there are workers, and the pool is not busy
// because of it. A new goroutine leads. When the function of the leader returns, the pool has its workers and runs no more jobs than before.
func TestALeaderThatIsReplacedApartTakesThePlaceOfNoWorker(t *testing.T) {
	for name, idle := range map[string]bool{"a worker is idle": true, "all workers run jobs": false} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 1)
			first := lead(t, s.Lead)
			release := make(chan struct{})
			if !idle {
				s.hold(t, release)
			}
			second := lead(t, func(fn func() Exit) { s.Replace(fn, true) })
			if idle {
				s.wantRunning(t, 1, false)
				s.hold(t, release)
			}
			s.wantRunning(t, 2, true)
			s.wantGoroutines(t, 3)
			submit(s.Pool, []call{func() {}}, nil)
			first.end <- LeadApart
			s.wantRunning(t, 1, true)
			if n := s.Counts().Waiting; n != 1 {
				t.Errorf("%d jobs wait for the only worker, want 1", n)
			}
			s.wantGoroutines(t, 2)
			close(release)
			s.wantRunning(t, 0, false)
			second.end <- LeadOver
			s.wantGoroutines(t, 1)
			s.run(t)
		})
	}
}

// Replace wakes an idle worker to lead. It starts a goroutine only if all workers run jobs, and that goroutine is not one more worker afterwards.
func TestAnIdleWorkerLeadsBeforeANewGoroutineDoes(t *testing.T) {
	s := newStage(t, 2)
	release := make(chan struct{})
	testkit.Until(t, "idle workers", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.idle) == 2 })
	first := lead(t, s.Lead)
	s.wantGoroutines(t, 3)
	second := lead(t, s.replace)
	s.wantGoroutines(t, 3)
	s.hold(t, release)
	third := lead(t, s.replace)
	s.wantGoroutines(t, 4)
	first.end <- LeadReplaced // becomes a worker in place of the one that leads
	s.wantRunning(t, 2, true)
	s.wantGoroutines(t, 4)
	second.end <- LeadReplaced // there are enough workers
	s.wantRunning(t, 1, false)
	s.wantGoroutines(t, 3)
	close(release)
	third.end <- LeadOver
	s.wantGoroutines(t, 2)
	s.run(t)
}

// A pool whose only worker has begun to lead runs jobs when the leader before it returns.
func TestAReplacedLeaderBecomesAWorker(t *testing.T) {
	s := newStage(t, 1)
	testkit.Until(t, "an idle worker", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.idle) == 1 })
	first := lead(t, s.Lead)
	second := lead(t, s.replace)
	var ran atomic.Bool
	done := make(chan struct{})
	submit(s.Pool, []call{func() { ran.Store(true); close(done) }}, nil)
	if n := s.Counts(); n.Waiting != 1 || ran.Load() {
		t.Errorf("a job ran while the only worker leads and the leader before it is blocked: %+v", n)
	}
	first.end <- LeadReplaced
	testkit.Await(t, done, "the job")
	s.wantRunning(t, 0, false)
	s.wantGoroutines(t, 2)
	second.end <- LeadOver
}

// A leader that was replaced and calls runtime.Goexit calls Quit: the pool has as many workers as before, and the job has ended.
func TestQuitEndsTheJobOfALeaderThatExits(t *testing.T) {
	t.Run("enough workers", func(t *testing.T) { testQuit(t, true) })
	t.Run("one too few", func(t *testing.T) { testQuit(t, false) })
}

func testQuit(t *testing.T, enough bool) {
	s := newStage(t, 1)
	release := make(chan struct{})
	if enough { // the worker runs a job, so that a new goroutine leads
		s.hold(t, release)
	} else {
		testkit.Until(t, "an idle worker", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.idle) == 1 })
	}
	exit, begun := make(chan struct{}), make(chan struct{})
	s.Lead(func() Exit {
		defer s.Quit(LeadReplaced)
		close(begun)
		<-exit
		runtime.Goexit()
		return LeadOver
	})
	testkit.Await(t, begun, "the leader's begin")
	second := lead(t, s.replace)
	close(exit)
	close(release)
	s.wantRunning(t, 0, false)
	s.run(t)
	s.wantGoroutines(t, 2)
	second.end <- LeadOver
	s.wantGoroutines(t, 1)
}

// A leader that was not replaced and calls runtime.Goexit leaves nothing of its own behind; it has called Lead for its successor.
func TestALeaderThatExitsProvidesForItsSuccessor(t *testing.T) {
	s := newStage(t, 1)
	next := newStuck()
	s.Lead(func() Exit {
		defer s.Lead(next.lead)
		runtime.Goexit()
		return LeadOver
	})
	testkit.Await(t, next.begun, "the successor's begin")
	s.wantGoroutines(t, 2)
	s.wantRunning(t, 0, false)
	next.end <- LeadOver
	s.wantGoroutines(t, 1)
}

// Wait waits for a leader that was replaced, as for a worker that runs a job, also if it is replaced after Close.
func TestWaitWaitsForAReplacedLeader(t *testing.T) {
	t.Run("replaced before Close", func(t *testing.T) { testWait(t, false) })
	t.Run("replaced after Close", func(t *testing.T) { testWait(t, true) })
}

func testWait(t *testing.T, closedBefore bool) {
	s := newStage(t, 1)
	first := lead(t, s.Lead)
	if closedBefore {
		s.Close()
	}
	second := lead(t, s.replace)
	s.Close()
	waited := make(chan struct{})
	go func() { s.Wait(); close(waited) }()
	s.wantRunning(t, 1, true)
	select {
	case <-waited:
		t.Error("Wait has not waited for the leader that was replaced")
	case <-time.After(10 * time.Millisecond):
	}
	first.end <- LeadReplaced
	testkit.Await(t, waited, "Wait")
	second.end <- LeadOver
	s.wantGoroutines(t, 0)
}

// model is a loop in miniature: its leader runs requests, or gives them to the workers when all are busy, and a tick replaces it.
type model struct {
	s        *stage
	word     atomic.Uint64 // 4n+1 while the n-th request is run by the leader, 4n+2 when the leadership was taken
	left     atomic.Int32  // requests that were not begun
	over     chan struct{}
	run      func()
	workers  sync.WaitGroup
	replaced atomic.Int32
	exit     Exit // of a leader that was replaced
}

func (m *model) leads() Exit {
	m.word.Store(m.word.Load() &^ 3)
	word := uint64(0) // of the request that runs
	leave := func() bool { return m.word.CompareAndSwap(word, word&^3) }
	lost, returned := false, false
	defer func() {
		switch {
		case returned:
		case leave(): // a request has called runtime.Goexit
			m.s.Lead(m.leads)
		default:
			m.s.Quit(m.exit)
		}
	}()
	for m.left.Load() > 0 && !lost {
		m.left.Add(-1)
		if m.s.IsBusy() {
			m.workers.Add(1)
			for submit(m.s.Pool, []call{func() { defer m.workers.Done(); m.run() }}, &roomWaiter{}) == 0 {
				runtime.Gosched()
			}
			continue
		}
		word = m.word.Load()&^3 + 5
		m.word.Store(word)
		m.run()
		lost = !leave()
	}
	if !lost {
		close(m.over)
	}
	returned = true
	if lost {
		return m.exit
	}
	return LeadOver
}

func (m *model) tick() {
	if w := m.word.Load(); w&3 == 1 && m.word.CompareAndSwap(w, w+1) {
		m.replaced.Add(1)
		m.s.Replace(m.leads, m.exit == LeadApart)
	}
}

// tickAll ticks at random until stop is called.
func tickAll(models []*model) (stop func()) {
	end := make(chan struct{})
	var ticks sync.WaitGroup
	ticks.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				models[rand.IntN(len(models))].tick()
				runtime.Gosched()
			}
		}
	})
	return func() {
		close(end)
		ticks.Wait()
	}
}

// Leaders that are replaced at random, while requests run on them and on workers, and some call runtime.Goexit: each request runs once, never are more in
// progress than there are workers and leaders, and the pool has its workers afterwards.
func TestNoMoreJobsRunThanThereAreWorkersAndLeaders(t *testing.T) {
	t.Run("as workers", func(t *testing.T) { testReplaced(t, LeadReplaced) })
	t.Run("apart", func(t *testing.T) { testReplaced(t, LeadApart) })
}

func testReplaced(t *testing.T, exit Exit) {
	const workers, leaders = 3, 2
	requests := int32(5000)
	if testkit.Full() {
		requests = 50000
	}
	s := newStage(t, workers)
	var running, most, ran atomic.Int32
	run := func() {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		kind := rand.IntN(50)
		if kind == 0 {
			time.Sleep(20 * time.Microsecond)
		} else if kind < 10 {
			runtime.Gosched()
		}
		ran.Add(1)
		running.Add(-1)
		if kind == 1 {
			runtime.Goexit()
		}
	}
	var models []*model
	for range leaders {
		m := &model{s: s, over: make(chan struct{}), run: run, exit: exit}
		m.left.Store(requests)
		models = append(models, m)
		s.Lead(m.leads)
	}
	stop := tickAll(models)
	replaced := int32(0)
	for _, m := range models {
		testkit.Await(t, m.over, "all requests")
		replaced += m.replaced.Load()
	}
	stop()
	for _, m := range models {
		testkit.Within(t, "the requests of the workers", m.workers.Wait)
	}
	s.wantRunning(t, 0, false)
	s.wantGoroutines(t, workers)
	if ran.Load() != leaders*requests {
		t.Errorf("%d requests ran, want %d", ran.Load(), leaders*requests)
	}
	if most.Load() > workers+leaders && exit == LeadReplaced {
		t.Errorf("%d requests were in progress at once, want at most %d", most.Load(), workers+leaders)
	}
	if replaced == 0 {
		t.Error("no leader was replaced")
	}
}
