package event

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// signalSource brings one signal to one loop. os/signal delivers to each channel that asked, so every loop has its own;
// each signal has a channel to itself, since Stop ends all signals of a channel and adding the others again would
// leave a gap in which one of them could kill the program.
type signalSource struct {
	sig    syscall.Signal
	ch     chan os.Signal
	quit   chan struct{}
	events []*Event // under loop.mu
}

// signalBuffer is how many deliveries of one signal may wait for the loop; the kernel merges what comes faster anyway.
const signalBuffer = 64

// NewSignal makes a persistent event for a signal. Its callback is called once for each delivery; deliveries that the
// system merged count as one. They count for the budget as the calls of different events do, and a timeout is told with the first.
// Every loop that added one is told. A delivery travels through os/signal and a goroutine of the loop: it ends the sleep of a Run,
// but a RunNonblock right after the signal was raised may come before it.
//
// After the last Del of a signal in the program, the previous disposition is restored: one that was ignored when the first event
// was added, as SIGHUP under nohup, is ignored again. That takes it from channels that the program has given to signal.Notify
// meanwhile. Go's runtime uses SIGURG itself, so its events are called for no reason at times.
//
// Errors: ErrInvalid for a signal that cannot be caught or that Go never delivers (SIGPROF, and on Linux 32 to 34, which belong to
// the C library); ErrInvalid for a nil fn; ErrClosed. Any goroutine.
func (l *Loop) NewSignal(sig os.Signal, fn func(e *Event, what Flags)) (*Event, error) {
	n, ok := sig.(syscall.Signal)
	if !ok {
		return nil, fmt.Errorf("new signal event: %w", invalid("signal %v", sig))
	}
	return l.NewEvent(int(n), Signal|Persist, fn)
}

// maxSignal is the highest number that os/signal knows.
const maxSignal = 64

func checkSignal(n int) error {
	switch s := syscall.Signal(n); {
	case n < 1 || n > maxSignal, s == syscall.SIGKILL, s == syscall.SIGSTOP, s == syscall.SIGPROF, reservedSignal(s):
		return invalid("signal %d cannot be caught", n)
	}
	return nil
}

// addSignal is Add for a signal event. Registration is ordered by sigMu, since os/signal has locks of its own, which are
// not taken under l.mu.
func (e *Event) addSignal(timeout time.Duration) error {
	l := e.loop
	l.sigMu.Lock()
	defer l.sigMu.Unlock()
	l.mu.Lock()
	src, fresh := l.signals[int(e.fd)], false
	if src == nil {
		src, fresh = &signalSource{sig: syscall.Signal(e.fd), ch: make(chan os.Signal, signalBuffer), quit: make(chan struct{})}, true
	}
	was := e.state & stateAdded
	err := l.add(e, timeout)
	if err == nil && was == 0 {
		src.events = append(src.events, e)
		l.signals[int(e.fd)] = src
	}
	l.unlock()
	if err == nil && fresh && was == 0 {
		startSignal(src.ch, src.sig)
		l.forwarders.Go(func() { l.forward(src) })
	}
	return e.opError("add", err)
}

// forward is the source's goroutine: a delivery becomes an activation of each event.
func (l *Loop) forward(src *signalSource) {
	for {
		select {
		case <-src.quit:
			return
		case <-src.ch:
		}
		l.mu.Lock()
		for _, e := range src.events {
			if e.state&stateDelivered != 0 {
				e.calls++
			} else {
				l.activate(e, Signal)
				e.state |= stateDelivered
			}
		}
		l.unlock()
	}
}

func (src *signalSource) drop(e *Event) {
	src.events = slices.DeleteFunc(src.events, func(other *Event) bool { return other == e })
}

// reapSignals lets go of the signals that no event waits for. It returns when the previous disposition is restored.
func (l *Loop) reapSignals() {
	l.sigMu.Lock()
	defer l.sigMu.Unlock()
	var idle []*signalSource
	l.mu.Lock()
	for n, src := range l.signals {
		if len(src.events) == 0 {
			delete(l.signals, n)
			idle = append(idle, src)
		}
	}
	l.mu.Unlock()
	for _, src := range idle {
		stopSignal(src.ch, src.sig)
		close(src.quit)
	}
}
