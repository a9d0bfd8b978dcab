package event

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// signalSource delivers one signal to one loop. os/signal delivers to each registered channel, so every loop has its own channels.
// Each signal has its own channel, since signal.Stop ends all signals of a channel; registering the others again would
// leave a gap in which one of them could end the program.
type signalSource struct {
	sig    syscall.Signal
	ch     chan os.Signal
	quit   chan struct{}
	events []*Event // under loop.mu
}

// signalBuffer is the number of deliveries of one signal that may wait for the loop. The kernel merges faster ones anyway.
const signalBuffer = 64

// NewSignal makes a persistent event for a signal, which waits for nothing until Add. Its callback is called once for each delivery;
// deliveries that the system merges count as one. Each call counts for the budget, and a timeout is reported with the first.
// A signal is delivered to every event added for it, in every loop. A delivery passes through os/signal and a goroutine of the loop: it
// ends the sleep of a Run, but a RunNonblock right after the signal was raised may return before it.
//
// After the last Del of a signal in the program, the previous disposition is restored: if the signal was ignored when the first event
// was added, like SIGHUP under nohup, it is ignored again. It is then no longer delivered to channels that the program has given to
// signal.Notify meanwhile. Go's runtime uses SIGURG itself, so events for it are sometimes called without a cause in the program.
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

// addSignal is Add for a signal event. sigMu orders registration, since os/signal has its own locks, which must not be
// taken under l.mu.
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

// forward is the source's goroutine. It activates each event of the signal for each delivery.
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

// reapSignals unregisters the signals that no event waits for. It returns when their previous dispositions are restored.
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
