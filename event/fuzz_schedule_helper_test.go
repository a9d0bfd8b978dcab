package event_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
)

// world is a loop, run by one goroutine, on which others carry out a schedule. Whatever that is, these hold:
//
//   - what Post accepts is called exactly once, what it refuses never; the same for Finalize;
//   - no callback of an event begins after Del on the loop, DelWait or its finalizer, and at most one after Del elsewhere;
//   - no event is called for a file that it was not added for, whichever files have its number before and afterwards;
//   - nothing is called after Close, nothing counts as added, active or waiting, and every descriptor is released.
type world struct {
	t      *testing.T
	l      *event.Loop
	closed atomic.Bool // Close has returned

	mu      sync.Mutex
	owed    []*promise
	cancel  context.CancelFunc // of the run under way
	trouble error              // the first violation; t belongs to the test's own goroutine

	numbers sync.Mutex // held while a number is closed and reopened
	slots   [3]slot
	users   eventSet
	extra   []int // descriptors to be closed in the end
}

// promise is a function that was accepted and must be called once.
type promise struct {
	what  string
	calls atomic.Int32
}

// file is the file that has a number.
type file struct {
	readable atomic.Bool // something was sent, or its end was
}

// slot is a descriptor number that different files have in turn.
type slot struct {
	eventSet
	fd, peer int
	file     *file
}

// eventSet is a set of events that are neither deleted nor finalized.
type eventSet struct {
	mu    sync.Mutex
	lives []*life
}

// life is an event with the state that the test expects.
type life struct {
	w      *world
	e      *event.Event
	file   *file       // nil for one without a descriptor
	broken atomic.Bool // its descriptor was closed before Del
	then   byte        // what the callback does
	over   atomic.Bool // no callback may begin
	gone   atomic.Bool // Del has returned elsewhere: one callback at most
	late   atomic.Int32

	mu     sync.Mutex
	ending bool // the callback does not add or activate the event any more
}

// violate records a violation.
func (w *world) violate(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trouble == nil {
		w.trouble = fmt.Errorf(format, args...)
	}
}

// allow accepts nil and the refusals given; after Close has begun, ErrClosed besides.
func (w *world) allow(what string, err error, refusals ...error) bool {
	if err == nil {
		return true
	}
	for _, refusal := range append(refusals, event.ErrClosed) {
		if errors.Is(err, refusal) {
			return false
		}
	}
	w.violate("%s: %v", what, err)
	return false
}

// expect registers a function that must be called once if err is nil, and never otherwise.
func (w *world) hold(p *promise, taken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !taken {
		p.calls.Add(1) // so that a call would be one too many
	}
	w.owed = append(w.owed, p)
}

// post posts fn.
func (w *world) post(what string, fn func()) {
	p := &promise{what: what}
	err := w.l.Post(func() {
		p.calls.Add(1)
		if w.closed.Load() {
			w.violate("%s after Close", what)
		}
		fn()
	})
	w.hold(p, w.allow(what, err, event.ErrFull))
}

// newLife makes an event for the file that has a number, or for none.
func (w *world) born(fd int, flags event.Flags, f *file, then byte) (*life, error) {
	v := &life{w: w, file: f, then: then % 8}
	e, err := w.l.NewEvent(fd, flags, v.called)
	v.e = e
	return v, err
}

// called is the callback.
func (v *life) called(e *event.Event, what event.Flags) {
	w := v.w
	switch {
	case w.closed.Load():
		w.violate("callback after Close")
	case v.over.Load():
		w.violate("callback of an event that had ended, descriptor %d, %v", e.FD(), what)
	case v.gone.Load() && v.late.Add(1) > 1:
		w.violate("two callbacks after Del, descriptor %d, %v", e.FD(), what)
	case v.file != nil && what&event.Read != 0 && !v.file.readable.Load() && (!v.broken.Load() || w.l.Features().Has(event.FeatureStale)):
		w.violate("descriptor %d is told %v of a file that has nothing to read", e.FD(), what)
	}
	if v.file != nil {
		_, _ = receive(e.FD()) // or the loop would never sleep
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.then == 1 && !v.ending:
		w.allow("Add in its callback", e.Add(event.NoTimeout), event.ErrInvalid, event.ErrBadDescriptor, event.ErrStale) // its number may be closed just now
	case v.then == 2 && !v.ending:
		w.allow("Activate in its callback", e.Activate(event.Timeout))
		v.then = 0 // or it would never end
	case v.then == 3:
		w.post("post of a callback", func() {})
	case v.then == 4:
		w.l.Continue()
	case v.then == 5:
		w.l.Break()
	case v.then == 6 && v.file != nil && !v.ending: // its number may be closed just now
		w.allow("SetConditions in its callback", e.SetConditions(e.Flags()&(event.Read|event.Write)^(event.Read|event.Write)), event.ErrStale)
	}
}

// retire stops the callback from keeping its event active.
func (v *life) retire() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ending = true
}

// open gives every slot its number and first file.
func (w *world) open() {
	for i := range w.slots {
		s := &w.slots[i]
		s.fd, s.peer = rawPair(w.t)
		s.file = &file{}
	}
}

// swap closes the slot's number and opens it again with a fresh file behind it. With a duplicate, the old file stays
// open.
func (w *world) swap(s *slot, duplicate bool) {
	w.numbers.Lock()
	defer w.numbers.Unlock()
	if duplicate {
		fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			w.violate("dup: %v", err)
			return
		}
		w.extra = append(w.extra, fd, s.peer)
	}
	s.file.readable.Store(true) // its end is to be read
	err := unix.Close(s.fd)
	if !duplicate {
		err = errors.Join(err, unix.Close(s.peer))
	}
	fds, e := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err = errors.Join(err, e); err != nil {
		w.violate("reopen: %v", err)
		return
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		err = errors.Join(err, unix.SetNonblock(fd, true))
	}
	f := &file{}
	n, e := unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, s.fd)
	if err = errors.Join(err, e, unix.Close(fds[0])); err != nil || n != s.fd {
		w.violate("reopen %d: %d, %v", s.fd, n, err)
		return
	}
	s.peer, s.file = fds[1], f
}

// take removes one life, chosen by n, from the set. Under k.mu.
func (k *eventSet) take(n byte) *life {
	if len(k.lives) == 0 {
		return nil
	}
	i := int(n) % len(k.lives)
	v := k.lives[i]
	k.lives = slices.Delete(k.lives, i, i+1)
	v.retire()
	return v
}

// del deletes v: elsewhere, after which one callback may still begin, or on the loop, where it is exact.
func (v *life) del(onLoop bool) {
	var refusals []error
	if v.broken.Load() {
		refusals = append(refusals, event.ErrStale)
	}
	v.w.allow("Del", v.e.Del(), refusals...)
	if onLoop {
		v.over.Store(true)
	}
	v.gone.Store(true)
}

// end ends one of the events in one of the possible ways. A goroutine that holds k.mu does not wait for the loop, so the loop
// can lock it.
func (k *eventSet) end(w *world, how, n byte) {
	if how%4 == 1 {
		w.post("Del on the loop", func() { k.endNow(w, 1, n) })
	} else if v := k.endNow(w, how%4, n); v != nil && how%4 == 2 {
		w.allow("DelWait", v.e.DelWait(context.Background()), event.ErrStale)
		v.over.Store(true)
	}
}

func (k *eventSet) endNow(w *world, how, n byte) *life {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.take(n)
	switch {
	case v == nil:
	case how < 3:
		v.del(how == 1)
	default:
		p := &promise{what: "finalizer"}
		err := v.e.Finalize(func(*event.Event) {
			p.calls.Add(1)
			v.over.Store(true)
		})
		stale := v.broken.Load() && errors.Is(err, event.ErrStale) // taken all the same
		w.hold(p, stale || w.allow("Finalize", err))
	}
	return v
}

// run runs the loop until it is closed, in one way after the other.
func (w *world) run(mode byte) {
	for n := mode; ; n++ {
		ctx, cancel := context.WithCancel(context.Background())
		w.mu.Lock()
		w.cancel = cancel
		w.mu.Unlock()
		err := w.runOnce(ctx, n)
		cancel()
		if errors.Is(err, event.ErrClosed) {
			return
		}
		w.allow("run", err, context.Canceled)
		runtime.Gosched()
	}
}

func (w *world) runOnce(ctx context.Context, n byte) error {
	defer func() {
		if v := recover(); v != nil && v != errSchedule {
			panic(v)
		}
	}()
	switch n % 4 {
	case 0:
		return w.l.Run(ctx)
	case 1:
		return w.l.RunOnce(ctx)
	case 2:
		return w.l.RunNonblock()
	default:
		return w.l.RunForever(ctx)
	}
}

// errSchedule is what posts of a schedule panic with.
var errSchedule = errors.New("panic of the schedule")

// close closes the loop, through what its last posts may panic with.
func (w *world) close() {
	defer func() {
		if v := recover(); v != nil && v != errSchedule {
			panic(v)
		}
		w.closed.Store(true)
	}()
	w.allow("Close", w.l.Close())
}

// checkClosed is the check after Close.
func (w *world) checkClosed() {
	if s := w.l.Stats(); s.Added != 0 || s.Active != 0 || s.PendingPosts != 0 {
		w.violate("after Close %d added, %d active, %d posts", s.Added, s.Active, s.PendingPosts)
	}
	for _, p := range w.owed {
		if n := p.calls.Load(); n != 1 {
			w.violate("an accepted %s was called %d times", p.what, n)
		}
	}
	for i := range w.slots {
		w.extra = append(w.extra, w.slots[i].fd, w.slots[i].peer)
	}
	slices.Sort(w.extra)
	for _, fd := range slices.Compact(w.extra) {
		if err := unix.Close(fd); err != nil {
			w.violate("descriptor %d was closed by other code: %v", fd, err)
		}
	}
}
