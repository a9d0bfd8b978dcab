package workpool

import (
	"context"
	"runtime/pprof"
)

// worker is the state of a worker's goroutine.
type worker struct {
	wake  chan struct{}
	lead  func() Exit // set, before it is woken, if it is to lead
	isNew bool        // it was started as the standby, and has not looked for a job yet
}

func newWorker() *worker { return &worker{wake: make(chan struct{}, 1)} }

// wakeUp wakes w, or starts it if it is new. It does nothing if w is nil.
func (p *Pool[J]) wakeUp(w *worker) {
	switch {
	case w == nil:
	case w.isNew:
		go p.work(w, false)
	default:
		w.wake <- struct{}{}
	}
}

// labels are the labels of workers in profiles. A function that leads sets its own.
var labels = pprof.WithLabels(context.Background(), pprof.Labels("evmq", "worker"))

// labelWorker sets the labels of the calling goroutine.
func labelWorker() { pprof.SetGoroutineLabels(labels) }
