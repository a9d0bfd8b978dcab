package server

import "testing"

// TestABurstWakesTwoWorkers steps through the pool's decisions by hand: whoever takes a request wakes at most one other.
func TestABurstWakesTwoWorkers(t *testing.T) {
	p := &pool{bound: 100}
	workers := make([]*worker, 8)
	for i := range workers {
		workers[i] = &worker{make(chan struct{}, 1)}
		p.take(workers[i], false, false)
	}
	woken := func() (n int) {
		for _, w := range workers {
			n += len(w.wake)
		}
		return n
	}

	burst := make([]*input, 100)
	for i := range burst {
		burst[i] = new(input)
	}
	if taken := p.submit(nil, burst); taken != 100 || woken() != 1 {
		t.Fatalf("%d of 100 requests taken, %d workers woken; want all and 1", taken, woken())
	}
	first := workers[7] // the one that slept last
	<-first.wake
	in, _, next := p.take(first, true, false)
	if in != burst[0] || next == nil {
		t.Fatal("the first worker does not take the first request, or wakes nobody to stand by")
	}
	for i := 1; i < 100; i++ { // its handlers return at once, and the standby does not get a processor
		in, _, another := p.take(first, false, true)
		if in != burst[i] || another != nil {
			t.Fatalf("request %d: it is the one expected: %v; a third worker was woken: %v", i, in == burst[i], another != nil)
		}
	}
	if in, _, another := p.take(next, true, false); in != nil || another != nil {
		t.Error("the standby finds a request, or wakes another worker, when none is left")
	}
	if waiting, longest, running := p.counts(); waiting != 0 || longest != 100 || running != 1 {
		t.Errorf("waiting %d, longest %d, running %d; want 0, 100, 1", waiting, longest, running)
	}
}

// TestEachBlockedHandlerIsFollowedByAnother: while handlers block, every request still gets a worker as long as one is idle.
func TestEachBlockedHandlerIsFollowedByAnother(t *testing.T) {
	p := &pool{bound: 4}
	workers := make([]*worker, 3)
	for i := range workers {
		workers[i] = &worker{make(chan struct{}, 1)}
		p.take(workers[i], false, false)
	}
	p.submit(nil, []*input{{}, {}, {}, {}})
	var next *worker
	for i := range workers {
		var w *worker
		if i == 0 {
			w = workers[2]
			<-w.wake
		} else if w = next; w == nil {
			t.Fatalf("nobody was woken for request %d", i)
		}
		var in job
		if in, _, next = p.take(w, true, false); in == nil {
			t.Fatalf("worker %d found no request", i)
		}
	}
	if waiting, _, running := p.counts(); next != nil || waiting != 1 || running != 3 {
		t.Errorf("waiting %d, running %d, another woken: %v; want 1, 3, none", waiting, running, next != nil)
	}
}

// TestAFullQueueFeedsEachLoopOnce: a loop that found no room is named once, when half of the queue is free.
func TestAFullQueueFeedsEachLoopOnce(t *testing.T) {
	p := &pool{bound: 4}
	l := new(loop)
	five := []*input{{}, {}, {}, {}, {}}
	if taken := p.submit(l, five); taken != 4 {
		t.Fatalf("a queue of 4 took %d", taken)
	}
	if taken := p.submit(l, five[4:]); taken != 0 {
		t.Fatalf("a full queue took %d", taken)
	}
	w := &worker{make(chan struct{}, 1)}
	for left := 3; left >= 0; left-- {
		_, fed, _ := p.take(w, false, left != 3)
		if want := left == 2; want != (len(fed) == 1) {
			t.Errorf("with %d left, %d loops are fed", left, len(fed))
		}
	}
}
