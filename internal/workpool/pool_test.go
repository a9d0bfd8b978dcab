package workpool

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// number is a job that does nothing.
type number int

func (number) Run() {}

// call is a job that calls a function.
type call func()

func (fn call) Run() { fn() }

// roomWaiter counts the calls of HasRoom.
type roomWaiter struct{ told atomic.Int32 }

func (w *roomWaiter) HasRoom() { w.told.Add(1) }

// submit submits jobs of one type to a pool of any jobs.
func submit[J Job](p *Pool[Job], jobs []J, w Waiter) (taken int) {
	all := make([]Job, len(jobs))
	for i, j := range jobs {
		all[i] = j
	}
	return p.Submit(all, w)
}

// manual returns a pool whose workers are moved by the test.
func manual(workers, bound int) (*Pool[Job], []*worker) {
	p := &Pool[Job]{bound: bound, workers: workers, members: workers}
	p.ended.L, p.counted.L = &p.mu, &p.mu
	var idle []*worker
	for range workers {
		idle = append(idle, newWorker())
		p.take(idle[len(idle)-1], false, false)
	}
	return p, idle
}

// A worker that takes a job wakes at most one other worker.
func TestABurstWakesTwoWorkers(t *testing.T) {
	p, workers := manual(8, 100)
	woken := func() (n int) {
		for _, w := range workers {
			n += len(w.wake)
		}
		return n
	}

	var burst []number
	for i := range 100 {
		burst = append(burst, number(i))
	}
	if taken := submit(p, burst, nil); taken != 100 || woken() != 1 {
		t.Fatalf("%d of 100 jobs were taken, %d workers were woken; want all and 1", taken, woken())
	}
	first := workers[7] // the one that slept last
	<-first.wake
	j, found := p.take(first, true, false)
	next := found.next
	if j != number(0) || next == nil {
		t.Fatal("the first worker does not take the first job, or does not wake a standby")
	}
	for i := 1; i < 100; i++ { // its jobs return at once, and the standby does not get a processor
		j, found := p.take(first, false, true)
		if j != number(i) || found.next != nil {
			t.Fatalf("job %d: took %v; a third worker was woken: %v", i, j, found.next != nil)
		}
	}
	if _, found := p.take(next, true, false); found.what != takeIdle || found.next != nil {
		t.Error("the standby finds a job, or wakes another worker, when none is left")
	}
	if got, want := p.Counts(), (Counts{Waiting: 0, MaxWaiting: 100, Running: 1}); got != want {
		t.Errorf("counts are %+v, want %+v", got, want)
	}
}

// While jobs block, each job still gets a worker as long as one is idle.
func TestEachBlockedJobIsFollowedByAnother(t *testing.T) {
	p, workers := manual(3, 4)
	submit(p, make([]number, 4), nil)
	var next *worker
	for i := range workers {
		var w *worker
		if i == 0 {
			w = workers[2]
			<-w.wake
		} else if w = next; w == nil {
			t.Fatalf("no worker was woken for job %d", i)
		}
		_, found := p.take(w, true, false)
		if next = found.next; found.what != takeJob {
			t.Fatalf("worker %d found no job", i)
		}
	}
	if got, want := p.Counts(), (Counts{Waiting: 1, MaxWaiting: 4, Running: 3}); next != nil || got != want {
		t.Errorf("counts are %+v, want %+v; another worker was woken: %v", got, want, next != nil)
	}
}

// A waiter that has found no room is told once, when half of the queue is free.
func TestAWaiterIsNotifiedOnceThatThereIsRoom(t *testing.T) {
	p := &Pool[Job]{bound: 4, workers: 1, members: 1}
	waiter := new(roomWaiter)
	five := make([]number, 5)
	if taken := submit(p, five, waiter); taken != 4 {
		t.Fatalf("a queue of 4 took %d", taken)
	}
	if taken := submit(p, five[4:], waiter); taken != 0 {
		t.Fatalf("a full queue took %d", taken)
	}
	w := newWorker()
	for left := 3; left >= 0; left-- {
		_, found := p.take(w, false, left != 3)
		if want := left == 2; want != found.hasRoom {
			t.Errorf("with %d jobs left, the waiters are called: %v", left, found.hasRoom)
		}
		if found.hasRoom {
			p.callWaiters()
		}
	}
	if n := waiter.told.Load(); n != 1 {
		t.Errorf("the waiter was called %d times", n)
	}
}

// A worker that has seen room calls the waiters only if other goroutines have not used it in the meantime.
func TestAWaiterIsNotNotifiedOfRoomThatIsUsedAgain(t *testing.T) {
	p := &Pool[Job]{bound: 4, workers: 1, members: 1}
	waiter := new(roomWaiter)
	submit(p, make([]number, 5), waiter)
	w := newWorker()
	p.take(w, false, false)
	if _, found := p.take(w, false, true); !found.hasRoom {
		t.Fatal("half of the queue is free, and no waiter is to be called")
	}
	submit(p, make([]number, 1), nil)
	p.callWaiters()
	if n := waiter.told.Load(); n != 0 {
		t.Fatal("the waiter was called while more than half of the queue was in use")
	}
	if _, found := p.take(w, false, true); !found.hasRoom {
		t.Fatal("the next worker does not call the waiter")
	}
	p.callWaiters()
	if n := waiter.told.Load(); n != 1 {
		t.Errorf("the waiter was called %d times", n)
	}
}

// Offer uses half of the queue, whatever its length, and a closed pool takes nothing by it.
func TestOfferLeavesHalfOfTheQueue(t *testing.T) {
	for length, most := range map[int]int{1: 1, 2: 1, 3: 2, 4: 2, 1024: 512} {
		p := &Pool[Job]{bound: length}
		taken := 0
		var err error
		for err = p.Offer(number(0)); err == nil; err = p.Offer(number(0)) {
			taken++
		}
		if taken != most || p.Counts().MaxWaiting != most || !errors.Is(err, ErrFull) {
			t.Errorf("a queue of %d took %d jobs, says %d, and refuses with %v; want %d", length, taken, p.Counts().MaxWaiting, err, most)
		}
		if n := submit(p, make([]number, length), new(roomWaiter)); n != length-most {
			t.Errorf("a queue of %d with %d jobs took %d more, want %d", length, most, n, length-most)
		}
	}
	p := New[Job](1, 4)
	p.Close()
	if err := p.Offer(number(0)); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed pool returns %v", err)
	}
	p.Wait()
}

// A closed pool runs the jobs in its queue, also if some call runtime.Goexit. Then its workers end.
func TestCloseRunsWhatIsInTheQueue(t *testing.T) {
	p := New[Job](3, 1000)
	var ran atomic.Int32
	var jobs []call
	for i := range 1000 {
		jobs = append(jobs, func() {
			ran.Add(1)
			if i%7 == 0 {
				runtime.Goexit()
			}
		})
	}
	if n := submit(p, jobs, nil); n != len(jobs) {
		t.Fatalf("%d of %d jobs were taken", n, len(jobs))
	}
	p.Close()
	p.Wait()
	if got := p.Counts(); ran.Load() != 1000 || got.Waiting != 0 || got.Running != 0 {
		t.Errorf("%d of 1000 jobs ran, counts are %+v", ran.Load(), got)
	}
}

// A closed pool adds no job, which no worker would run, and does not promise room.
func TestSubmitAfterCloseAddsNothing(t *testing.T) {
	p := New[Job](1, 1)
	p.Close()
	if n := submit(p, make([]number, 2), new(roomWaiter)); n != 0 || len(p.waiters) != 0 || p.Counts().Waiting != 0 {
		t.Errorf("a closed pool took %d jobs, %d waiters, and has the counts %+v", n, len(p.waiters), p.Counts())
	}
	p.Wait()
}

// Jobs of a steady flow, and what they wake, need no memory.
func TestAJobNeedsNoMemory(t *testing.T) {
	p := New[call](2, 64)
	defer p.Wait()
	defer p.Close()
	ran := make(chan struct{}, 1)
	jobs := []call{func() { ran <- struct{}{} }}
	if n := testing.AllocsPerRun(1000, func() {
		p.Submit(jobs, nil)
		<-ran
	}); n != 0 {
		t.Errorf("a job takes %v allocations", n)
	}
}
