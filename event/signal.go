package event

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// signalSource brings one signal to one loop. os/signal delivers to each channel that asked, so every loop has its own;
// each signal has a channel to itself, since Stop ends all signals of a channel and adding the others again would
// leave a gap in which one of them could kill the program.
type signalSource struct {
	ch     chan os.Signal
	quit   chan struct{}
	events []*Event // under loop.mu
}

// signalBuffer is how many deliveries of one signal may wait for the loop; the kernel merges what comes faster anyway.
const signalBuffer = 64

// NewSignal makes a persistent event for a signal. Its callback is called once for each delivery; deliveries that the
// system merged count as one. Every loop that added one is told. After the last Del of a signal in the program, the
// previous disposition is restored. Errors: ErrSignal, ErrClosed, ErrNilFunc. Any goroutine.
func (l *Loop) NewSignal(sig os.Signal, fn func(e *Event, what Flags)) (*Event, error) {
	n, ok := sig.(syscall.Signal)
	if !ok {
		return nil, fmt.Errorf("new signal event: %w: %v", ErrSignal, sig)
	}
	return l.NewEvent(int(n), Signal|Persist, fn)
}

// maxSignal is the highest number that os/signal knows.
const maxSignal = 64

func checkSignal(n int) error {
	switch s := syscall.Signal(n); {
	case n < 1 || n > maxSignal, s == syscall.SIGKILL, s == syscall.SIGSTOP:
		return fmt.Errorf("%w: %d", ErrSignal, n)
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
		src, fresh = &signalSource{ch: make(chan os.Signal, signalBuffer), quit: make(chan struct{})}, true
	}
	was := e.state & stateAdded
	err := l.add(e, timeout)
	if err == nil && was == 0 {
		src.events = append(src.events, e)
		l.signals[int(e.fd)] = src
	}
	l.unlock()
	if err == nil && fresh && was == 0 {
		signal.Notify(src.ch, syscall.Signal(e.fd))
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
			if e.state&stateActive != 0 && e.what&Signal != 0 {
				e.calls++
			} else {
				l.activate(e, Signal)
			}
		}
		l.unlock()
	}
}

func (src *signalSource) drop(e *Event) {
	src.events = slices.DeleteFunc(src.events, func(other *Event) bool { return other == e })
}

// reapSignals lets go of the signals that nobody waits for. It returns when the previous disposition is restored.
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
		signal.Stop(src.ch)
		close(src.quit)
	}
}
