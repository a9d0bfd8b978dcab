package workpool

import (
	"runtime"
	"testing"
)

// notLed is a function that leads and ends at once.
func notLed() Exit { return LeadOver }

// idles waits until n workers are idle.
func idles(p *Pool[Job], n int) {
	for {
		p.mu.Lock()
		got := len(p.idle)
		p.mu.Unlock()
		if got == n {
			return
		}
		runtime.Gosched()
	}
}

// As many jobs run as there are workers, also when goroutines that have led run some of them. The next one begins when one of these ends.
func TestNoWorkerTakesAJobWhileAsManyRunAsThereAreWorkers(t *testing.T) {
	p, workers := manual(2, 4)
	submit(p, make([]number, 4), nil)
	take := func(w *worker, woken, ran, want bool) {
		t.Helper()
		if _, found := p.take(w, woken, ran); (found.what == takeJob) != want || found.what == takeEnd {
			t.Fatalf("a worker with %d jobs running: %v; want a job: %v", p.running, found.what, want)
		}
	}
	take(workers[1], true, false, true)
	take(workers[0], true, false, true) // the standby
	p.Replace(notLed, false)            // all workers are busy: another goroutine leads, and the one that has led runs the third job
	take(workers[0], false, true, false)
	if !p.IsBusy() {
		t.Errorf("%d jobs run, and the pool of 2 workers is not busy", p.running)
	}
	if p.rejoin(LeadReplaced) {
		t.Error("a third goroutine becomes a worker")
	}
	if len(workers[0].wake) != 1 {
		t.Fatal("a job has ended, and the idle worker is not woken for the next one")
	}
	<-workers[0].wake
	take(workers[0], true, false, true)
	if n := p.Counts().Running; n != 2 {
		t.Errorf("%d jobs run, want 2", n)
	}
}

// The pool is closed at the moment at which a worker has become idle, and was made to lead or to run a job.
func TestAWorkerThatIsNeededWhenThePoolIsClosedDoesNotEnd(t *testing.T) {
	for range 20_000 {
		p := New[Job](1, 1)
		done := make(chan struct{})
		idles(p, 1)
		p.Replace(func() Exit { close(done); return LeadOver }, false)
		p.Close()
		<-done
		p.Quit(LeadReplaced) // of the goroutine that has led before
		p.Wait()

		p, done = New[Job](1, 1), make(chan struct{})
		idles(p, 1)
		submit(p, []call{func() { close(done) }}, nil)
		p.Close()
		<-done
		p.Wait()
	}
}

// A pool that is closed while as many jobs run as it has workers, one of them on a goroutine that has led, runs the jobs of its queue when
// these end.
func TestAClosedPoolRunsTheRestOfItsQueueWhenAJobEnds(t *testing.T) {
	p := New[Job](1, 4)
	begun, goOn, hung, ran := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	submit(p, []call{func() { close(begun); <-goOn }, func() { close(ran) }}, nil)
	<-begun
	p.Lead(func() Exit {
		p.Replace(notLed, false) // the only worker is busy, and remains one
		<-hung
		return LeadReplaced
	})
	for p.Counts().Running < 2 {
		runtime.Gosched()
	}
	close(goOn)
	idles(p, 1)
	p.Close()
	select {
	case <-ran:
		t.Error("two jobs run with one worker")
	default:
	}
	close(hung)
	<-ran
	p.Wait()
}

// A goroutine that leads has ended its job before Replace is called: the pool has as many workers as before.
func TestAGoroutineMayRejoinBeforeItIsReplaced(t *testing.T) {
	p := New[Job](1, 1)
	idles(p, 1)
	p.Lead(func() Exit { return LeadReplaced })
	for range 1000 {
		runtime.Gosched() // most likely, it rejoins now
	}
	p.Replace(notLed, false)
	done := make(chan struct{})
	submit(p, []call{func() { close(done) }}, nil)
	<-done
	p.Close()
	p.Wait()
}
