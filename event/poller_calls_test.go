package event_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// callingPoller calls the loop's methods in those of its own that may do so.
type callingPoller struct {
	*scriptPoller
	loop  atomic.Pointer[event.Loop] // nil within NewLoop
	calls [4]atomic.Int32            // of open, Wait, Wake and Close
}

func (p *callingPoller) call(method int) {
	if l := p.loop.Load(); l != nil {
		p.calls[method].Add(1)
		l.Stats()
		l.Events()
		l.Now()
	}
}

func (p *callingPoller) open() (event.Poller, error) {
	p.call(0)
	return p, nil
}

func (p *callingPoller) Wait(ready []event.Ready, timeout time.Duration) (int, error) {
	p.call(1)
	return p.scriptPoller.Wait(ready, timeout)
}

func (p *callingPoller) Wake() error {
	p.call(2)
	return p.scriptPoller.Wake()
}

func (p *callingPoller) Close() error {
	p.call(3)
	return p.scriptPoller.Close()
}

// A poller's open, Wait, Wake and Close are called without the loop's lock, also when the loop replaces it.
func TestPollerIsOpenedWaitedForAndClosedWithoutTheLock(t *testing.T) {
	p := &callingPoller{scriptPoller: newScriptPoller()}
	l := testkit.NewLoop(t, &event.Config{OpenPoller: p.open, Driver: event.DriverThread})
	p.loop.Store(l)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 2 { // the second report of a descriptor that is not added makes the loop replace its poller
			p.report(7, event.Read)
			if err := l.RunNonblock(); err != nil {
				t.Error(err)
			}
		}
	}()
	testkit.Await(t, over, "the end of two turns")
	testkit.WantEqual(t, "rebuilds", l.Stats().Rebuilds, 1)
	stop := testkit.Background(t, l)
	testkit.Until(t, "sleep", p.asleep)
	called := make(chan struct{})
	testkit.Must(t, l.Post(func() { close(called) }))
	testkit.Await(t, called, "post")
	stop()
	go l.Close()
	testkit.Await(t, l.Done(), "end of Close")
	for method, name := range []string{"open", "Wait", "Wake", "Close"} {
		if p.calls[method].Load() == 0 {
			t.Errorf("%s was not called", name)
		}
	}
}
