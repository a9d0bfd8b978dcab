package httpd

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/evmq/evmq/server"
)

// A writeTimer ends a connection whose answers are not written in time. An answer is written when the kernel has taken all of it, which may
// be after the handler has returned, and then the next request is in progress already. It is made once for a connection that needs it. Times
// are those of the loop's clock.
type writeTimer struct {
	sc *server.Conn

	mu         sync.Mutex // guards what follows
	timer      *server.ConnTimer
	current    time.Duration   // the deadline of the answer of the request in progress
	hasCurrent bool            // there is one
	unsent     []time.Duration // the deadlines of answers whose handlers have returned, and that the kernel has not taken
}

// now returns the time on the loop's clock.
func (t *writeTimer) now() time.Duration { return t.sc.Loop().Clock().Now() }

// set makes the answer of the request in progress end in d.
func (t *writeTimer) set(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current, t.hasCurrent = t.now()+d, true
	t.arm()
}

// clear removes the deadline of the request in progress.
func (t *writeTimer) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hasCurrent = false
	t.arm()
}

// handlerReturned makes the deadline last until the kernel has taken all of the answer.
func (t *writeTimer) handlerReturned(w server.Reply) {
	t.mu.Lock()
	hasDeadline := t.hasCurrent
	if hasDeadline {
		t.unsent = append(t.unsent, t.current)
		t.hasCurrent = false
	}
	t.mu.Unlock()
	if hasDeadline {
		_ = w.Notify(t.sent) // fails if the connection has ended, and with it the timer
	}
}

// sent is called when the kernel has taken the oldest of the answers in unsent, on the loop.
func (t *writeTimer) sent(err error) {
	if err != nil {
		return // the connection ends
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsent = slices.Delete(t.unsent, 0, 1)
	t.arm()
}

// next returns the earliest deadline. Under mu.
func (t *writeTimer) next() (at time.Duration, ok bool) {
	at, ok = t.current, t.hasCurrent
	for _, u := range t.unsent {
		if !ok || u < at {
			at, ok = u, true
		}
	}
	return at, ok
}

// arm sets the timer to the earliest deadline. Under mu.
func (t *writeTimer) arm() {
	at, ok := t.next()
	switch {
	case !ok && t.timer != nil:
		t.timer.Stop()
	case !ok:
	case t.timer == nil:
		t.timer = t.sc.AfterFunc(at-t.now(), t.fire)
	default:
		t.timer.Reset(at - t.now())
	}
}

// fire is called when the earliest deadline has passed, on the loop.
func (t *writeTimer) fire() {
	t.mu.Lock()
	at, ok := t.next()
	isOver := ok && at <= t.now()
	if !isOver {
		t.arm() // the deadline was changed meanwhile
	}
	t.mu.Unlock()
	if isOver {
		_ = t.sc.CloseWithError(fmt.Errorf("httpd: write timeout: %w", os.ErrDeadlineExceeded)) // fails if it is closed already
		t.sc.Abort()
	}
}
