package httpd

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/evmq/evmq/server"
)

// A writeTimer ends a connection whose responses are not written in time. A response is written when the kernel has taken all of it. That may
// be after the handler has returned, when the next request may be in progress already. A connection has one at most.
type writeTimer struct {
	sc *server.Conn

	mu     sync.Mutex // guards what follows; times are those of the loop's clock
	timer  *server.ConnTimer
	runs   bool            // timer is to fire
	fires  time.Duration   // when, if it runs; it may be earlier than any deadline, so that a later one costs no call of the timer
	armed  bool            // there is a deadline for the request in progress
	at     time.Duration   // the deadline
	unsent []time.Duration // the deadlines of responses whose handlers have returned, and that the kernel has not taken
}

// errWriteDeadline is the error of writes after the deadline.
var errWriteDeadline = fmt.Errorf("httpd: write: %w", os.ErrDeadlineExceeded)

// now returns the time of the loop's clock.
func (t *writeTimer) now() time.Duration { return t.sc.Loop().Clock().Now() }

// err returns an error if the time has passed. The loop may notice that later than the handler, which may run on it.
func (t *writeTimer) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.armed && t.now() >= t.at {
		return errWriteDeadline
	}
	return nil
}

// fire is called on the loop.
func (t *writeTimer) fire() {
	t.mu.Lock()
	t.runs = false
	at, ok := t.next()
	expired := ok && t.now() >= at
	switch {
	case !ok:
		t.timer = nil
		defer t.release()
	case !expired:
		t.reset(at)
	}
	t.mu.Unlock()
	if expired { // a part of what is written may be sent, so nothing can follow
		_ = t.sc.CloseWithError(errWriteDeadline) // fails if it is closed already
		t.sc.Abort()
	}
}

// release drops the state that the connection has for its writeTimer, if it is idle. The timer has fired without a deadline, so it was idle for
// most of WriteTimeout; until then the state is kept for the next request. On the loop.
func (t *writeTimer) release() {
	more, _ := t.sc.Value().(*connMore)
	if t.sc.Requests().Pending() == 0 && more != nil && more.timer == t && more.ctx == nil && !more.isHijacked.Load() {
		t.sc.SetValue(nil)
	}
}

// set sets the deadline to d from now.
func (t *writeTimer) set(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.armed, t.at = true, t.now()+d
	if !t.runs || t.at < t.fires {
		t.reset(t.at)
	}
}

// next returns the earliest deadline. Under mu.
func (t *writeTimer) next() (at time.Duration, ok bool) {
	at, ok = t.at, t.armed
	for _, u := range t.unsent {
		if !ok || u < at {
			at, ok = u, true
		}
	}
	return at, ok
}

// isArmed reports whether there is a deadline for the request in progress.
func (t *writeTimer) isArmed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.armed
}

// keepUntilSent makes the deadline last until the kernel has taken all of the response, whose Notify is notify. When notify fails, the deadline
// is still that of the request in progress.
func (t *writeTimer) keepUntilSent(notify func(done func(error)) error) error {
	t.mu.Lock()
	armed := t.armed
	if armed {
		t.unsent = append(t.unsent, t.at)
		t.armed = false
	}
	t.mu.Unlock()
	if !armed {
		return nil
	}
	err := notify(t.sent)
	if err != nil {
		t.mu.Lock()
		t.unsent, t.armed = t.unsent[:len(t.unsent)-1], true
		t.mu.Unlock()
	}
	return err
}

// sent is called when the kernel has taken the oldest of the responses in unsent, on the loop. The timer may run on.
func (t *writeTimer) sent(err error) {
	if err != nil {
		return // the connection ends
	}
	t.mu.Lock()
	t.unsent = slices.Delete(t.unsent, 0, 1)
	t.mu.Unlock()
}

// reset makes the timer fire at a time. Under mu.
func (t *writeTimer) reset(at time.Duration) {
	t.runs, t.fires = true, at
	if d := at - t.now(); t.timer == nil {
		t.timer = t.sc.AfterFunc(d, t.fire)
	} else {
		t.timer.Reset(d)
	}
}

// stop removes the deadline. The timer may run on.
func (t *writeTimer) stop() {
	t.mu.Lock()
	t.armed = false
	t.mu.Unlock()
}
