package event

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// An Event is something that a loop waits for, and the callback that runs on the loop when it happens. The event waits from Add
// to Del. Without Persist it is removed just before its callback is called. An Event needs no release: the garbage collector frees it when
// it is not added and no references to it remain. The zero Event can only be passed to InitEvent. An Event must not be copied after that.
type Event struct {
	_ noCopy

	loop *Loop
	fn   func(e *Event, what Flags)
	name *string // nil means the function's name

	// Fixed by InitEvent.
	fd   int32 // descriptor, or the signal's number; -1 for a timer or a user's event
	kind Flags // Signal, Persist and EdgeTriggered

	// The rest belongs to loop.mu. The order leaves no gaps: a loop may have very many events.
	priority   uint8 // changes only while it is not active; determines its heap in loop.timers
	state      eventState
	conditions Flags         // of the descriptor: Read, Write, Closed and HangUp
	what       Flags         // what the next callback will be passed
	calls      int32         // of a signal: calls that are due, one for each delivery
	heapIndex  int32         // position in its heap of loop.timers; -1 if it has no deadline
	dispatch   uint32        // number of dispatches begun when it became active
	interval   time.Duration // of a persistent event's timeout; NoTimeout for none
	deadline   time.Duration // by loop.clock; if heapIndex is -1, the last one, from which nextDeadline counts
	seq        uint64        // number of the deadline, from loop.seq; it orders equal deadlines
	nextPeer   *Event        // the next event of the same descriptor

	prevActive, nextActive *Event
}

// noCopy makes go vet find copies of what contains it.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

type eventState uint8

const (
	stateAdded     eventState = 1 << iota // see Added
	stateActive                           // in the active queue
	stateInternal                         // internal to the loop: keeps no Run going and is not counted
	stateFinalized                        // Finalize was called
	stateStale                            // ended because its descriptor was closed
	stateAsked                            // active by Activate(0): to be called even without flags
	stateDelivered                        // active because its signal was delivered; further deliveries increase calls
)

// NewEvent makes an event. flags determine its kind: any of Read, Write, Closed and HangUp for the descriptor fd; Signal for
// the signal with the number fd; none of these for a timer, or for an event that is called only by Activate, where fd is -1.
// Persist may be added to each of them, and EdgeTriggered to the conditions of a descriptor. The event waits for nothing until
// Add, which also checks whether fd is open. fn is called on the loop with the event and with what has happened. The caller
// keeps the descriptor and must call Del before closing it.
//
// Errors: ErrInvalid, ErrBadDescriptor, ErrClosed; ErrUnsupported if the backend does not support
// EdgeTriggered or Closed. Any goroutine.
func (l *Loop) NewEvent(fd int, flags Flags, fn func(e *Event, what Flags)) (*Event, error) {
	e := new(Event)
	if err := l.initEvent(e, fd, flags, fn); err != nil {
		return nil, fmt.Errorf("new event for descriptor %d, %v: %w", fd, flags, err)
	}
	return e, nil
}

// InitEvent is NewEvent for an Event that the caller has allocated, for example as part of a larger struct. The event must be
// zero, or neither added nor active. An event that was used before is reset, including its priority and its name; while its
// callback runs, InitEvent can reset it for the same loop only. Other methods of the event must not be called at the same time.
// Errors: ErrPending, and those of NewEvent; after an error the event is unchanged. Any goroutine.
func (l *Loop) InitEvent(e *Event, fd int, flags Flags, fn func(e *Event, what Flags)) error {
	if err := l.initEvent(e, fd, flags, fn); err != nil {
		return fmt.Errorf("init event for descriptor %d, %v: %w", fd, flags, err)
	}
	return nil
}

func (l *Loop) initEvent(e *Event, fd int, flags Flags, fn func(*Event, Flags)) error {
	if err := l.checkKind(fd, flags); err != nil {
		return err
	}
	if fn == nil {
		return errNilFunc
	}
	if old := e.loop; old != nil && old != l && !old.forgot(e) {
		return ErrPending
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.state != loopOpen:
		return ErrClosed
	case e.state&(stateAdded|stateActive) != 0:
		return ErrPending
	}
	e.init(l, fd, flags, fn)
	return nil
}

// forgot reports whether l no longer uses e.
func (l *Loop) forgot(e *Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.state&(stateAdded|stateActive) == 0 && l.running != e
}

func (e *Event) init(l *Loop, fd int, flags Flags, fn func(*Event, Flags)) {
	*e = Event{
		loop: l, fn: fn, fd: int32(fd), kind: flags &^ (Timeout | readiness), conditions: flags & readiness,
		priority: uint8(len(l.active.lists) / 2), heapIndex: -1, interval: NoTimeout,
	}
}

// ofDescriptor reports whether e was made for a descriptor. It may wait for no condition at present.
func (e *Event) ofDescriptor() bool { return e.fd >= 0 && e.kind&Signal == 0 }

func (l *Loop) checkKind(fd int, flags Flags) error {
	conditions := flags & (readiness | Signal)
	switch {
	case flags&^allFlags != 0:
		return invalid("flags %v", flags)
	case flags&Signal != 0 && flags&(readiness|EdgeTriggered) != 0:
		return invalid("flags %v: Signal together with flags of a descriptor", flags)
	case flags&Signal != 0:
		return checkSignal(fd)
	case conditions == 0 && flags&EdgeTriggered != 0:
		return invalid("flags %v: EdgeTriggered without a condition", flags)
	case conditions == 0 && fd != -1, conditions != 0 && (fd < 0 || int(int32(fd)) != fd):
		return ErrBadDescriptor
	case flags&EdgeTriggered != 0 && !l.features.Has(FeatureEdge), flags&Closed != 0 && !l.features.Has(FeatureClosed):
		return ErrUnsupported
	}
	return nil
}

// NewTimer makes a timer that is not running: each Add starts it, and the callback is called once when the time given to Add has
// passed. AfterFunc makes a timer that is running. Errors: ErrInvalid, ErrClosed. Any goroutine.
func (l *Loop) NewTimer(fn func(e *Event, what Flags)) (*Event, error) { return l.NewEvent(-1, 0, fn) }

// NewTicker makes a ticker that is not running: Add starts it, and the callback is called at the interval given to Add. Each
// call is due one interval after the previous one was due, so delays do not accumulate. If that time has passed as well, one
// call makes up for all missed ones, and the next is due one interval after it. Errors: ErrInvalid, ErrClosed. Any goroutine.
func (l *Loop) NewTicker(fn func(e *Event, what Flags)) (*Event, error) {
	return l.NewEvent(-1, Persist, fn)
}

// AfterFunc calls fn on the loop when d has passed, or in the loop's next turn if d is 0 or negative, like time.AfterFunc. Del of the
// returned event cancels the call. Errors: ErrInvalid, ErrClosed. Any goroutine.
func (l *Loop) AfterFunc(d time.Duration, fn func()) (*Event, error) {
	if fn == nil {
		return nil, fmt.Errorf("after func: %w", errNilFunc)
	}
	return l.once(-1, 0, max(0, d), func(*Event, Flags) { fn() }, fn)
}

// Once calls fn once, when fd is ready for one of flags or when timeout has passed. Flags are conditions of a descriptor, or 0
// with fd -1. Calls without a condition and with timeout 0 are made in the order of Once. Del of the returned event cancels the call.
// Errors: ErrInvalid, and those of NewEvent and Add. Any goroutine.
func (l *Loop) Once(fd int, flags Flags, timeout time.Duration, fn func(what Flags)) (*Event, error) {
	if flags&(Signal|Persist) != 0 {
		return nil, fmt.Errorf("once for descriptor %d, %v: %w", fd, flags, invalid("flags %v", flags&(Signal|Persist)))
	}
	if fn == nil {
		return nil, fmt.Errorf("once for descriptor %d, %v: %w", fd, flags, errNilFunc)
	}
	return l.once(fd, flags, timeout, func(_ *Event, what Flags) { fn(what) }, fn)
}

func (l *Loop) once(fd int, flags Flags, timeout time.Duration, fn func(*Event, Flags), named any) (*Event, error) {
	o := &struct { // in one allocation
		e    Event
		name string
	}{name: funcName(named)}
	if err := l.initEvent(&o.e, fd, flags, fn); err != nil {
		return nil, fmt.Errorf("new event for descriptor %d, %v: %w", fd, flags, err)
	}
	o.e.name = &o.name
	if err := o.e.Add(timeout); err != nil {
		return nil, err
	}
	return &o.e, nil
}

// Add starts to wait. If nothing is reported until timeout has passed, the callback is called with Timeout. The timeout 0
// passes in the loop's next turn, and NoTimeout never. A persistent event then waits for the same time again. It counts from
// when this timeout was due; or from the call, if that time has passed as well or a condition or Activate caused the call. If
// the event is already added, timeout replaces the previous one and cancels a Timeout that is not delivered yet; NoTimeout
// keeps the previous one.
//
// Errors: ErrInvalid for a negative timeout, and if the events of the descriptor differ in EdgeTriggered; ErrClosed, ErrFinalized,
// ErrBadDescriptor, ErrNotPollable, ErrNested; ErrStale if the descriptor is closed and its number is given to another file during the
// call. After an error the event is unchanged. Any goroutine.
func (e *Event) Add(timeout time.Duration) error {
	if timeout < 0 {
		return e.opError("add", invalid("timeout %v", timeout))
	}
	if e.kind&Signal != 0 {
		return e.addSignal(timeout)
	}
	l := e.loop
	l.mu.Lock()
	err := l.add(e, timeout)
	l.unlock()
	return e.opError("add", err)
}

// SetConditions changes the conditions that an event of a descriptor waits for: any of Read, Write, Closed and HangUp, or 0 for none. Persist
// and EdgeTriggered do not change. If the event is not added, the change takes effect with the next Add, else at once: a removed
// condition that is not delivered yet is cancelled, and an edge-triggered condition that already holds is reported. An event that waits for no
// condition stays added, and its timeout continues, but the loop does not poll the descriptor for it.
//
// Errors: ErrInvalid, also for an event without a descriptor; ErrUnsupported if the backend does not support Closed; ErrClosed,
// ErrFinalized, ErrNotPollable, ErrNested; after these the event is unchanged. ErrStale says that the descriptor was closed before
// Del and that the event is removed. Any goroutine.
func (e *Event) SetConditions(conditions Flags) error {
	l := e.loop
	var err error
	switch {
	case conditions&^readiness != 0:
		err = invalid("conditions %v", conditions)
	case !e.ofDescriptor():
		err = invalid("conditions %v of an event without a descriptor", conditions)
	case conditions&Closed != 0 && !l.features.Has(FeatureClosed):
		err = fmt.Errorf("%w: %v", ErrUnsupported, conditions)
	default:
		l.mu.Lock()
		err = l.setConditions(e, conditions)
		l.unlock()
	}
	return e.opError("set conditions of", err)
}

// Conditions returns the conditions of an event of a descriptor, as NewEvent, InitEvent or SetConditions has set them last. It takes no lock,
// so another goroutine must not call SetConditions or InitEvent at the same time; Flags has no such restriction. Loop only.
func (e *Event) Conditions() Flags { return e.conditions }

// Del removes the event from the loop and cancels calls that the loop has not taken from its queue; Add can add the event
// again. If Del is called on another goroutine, one call that the loop has already taken may begin or still run after Del
// returns; DelWait waits for it. If the event is not added, Del only cancels a call by Activate. ErrStale says that the
// descriptor was closed before Del; the event is removed nevertheless. Any goroutine.
func (e *Event) Del() error {
	l := e.loop
	l.mu.Lock()
	err := l.del(e)
	l.unlock()
	if e.kind&Signal != 0 {
		l.reapSignals()
	}
	return e.opError("del", err)
}

// DelWait is Del, and waits until a running callback of the event has returned; then the event is not added, even if that
// callback has added it. In callbacks of the loop itself there is nothing to wait for, and DelWait is Del. If ctx ends first,
// DelWait returns an error that wraps context.Cause(ctx); the event was removed, and the running callback may add it again. If ctx is nil,
// it does nothing and returns ErrInvalid.
//
// A callback of another loop that calls DelWait stops its loop meanwhile. Callbacks of two loops that wait for each other's events
// wait until a context ends. May block; in a callback of its own loop it does not.
func (e *Event) DelWait(ctx context.Context) error {
	if ctx == nil {
		return e.opError("del", invalid("context is nil"))
	}
	l := e.loop
	l.mu.Lock()
	err := l.del(e)
	done := l.returnedChan(e) // in the same critical section: the callback may add the event as soon as it is removed
	l.unlock()
	if done != nil {
		select {
		case <-done:
			err = cmp.Or(err, e.Err()) // finish has removed the event once more
		case <-ctx.Done():
			l.stopAwaiting(done)
			err = fmt.Errorf("wait for the callback: %w", context.Cause(ctx))
		}
	}
	if e.kind&Signal != 0 {
		l.reapSignals()
	}
	return e.opError("del", err)
}

// Activate makes the loop call the callback with what, as if it had happened. Until that call begins, further activations and
// reports add their flags to it. The event need not be added. what is any combination of Timeout, Read, Write, Signal, Closed
// and HangUp, or 0. Activate with Signal is not a delivery of the signal: it shares its call with a delivery that comes before
// that call begins. Errors: ErrInvalid, ErrClosed, ErrFinalized. Any goroutine.
func (e *Event) Activate(what Flags) error {
	if what&^outcomes != 0 {
		return e.opError("activate", invalid("flags %v", what))
	}
	l := e.loop
	l.mu.Lock()
	err := l.usable(e)
	if err == nil {
		l.activate(e, what)
		if what == 0 {
			e.state |= stateAsked
		}
	}
	l.unlock()
	return e.opError("activate", err)
}

// Finalize removes the event permanently and calls fn on the loop when no callback of the event runs or can run any more. fn may
// close the descriptor. Afterwards Add and Activate fail with ErrFinalized and Del does nothing. Loop.Close calls the finalizers that
// are pending. Errors: ErrFinalized, ErrClosed, ErrInvalid; and ErrStale as for Del, in which case fn is called nevertheless. Any
// goroutine.
func (e *Event) Finalize(fn func(e *Event)) error {
	if fn == nil {
		return e.opError("finalize", errNilFunc)
	}
	l := e.loop
	l.mu.Lock()
	err := l.usable(e)
	if err == nil {
		err = l.del(e)
		e.state |= stateFinalized
		e.fn = func(e *Event, _ Flags) { fn(e) }
		l.activate(e, 0)
	}
	l.unlock()
	if e.kind&Signal != 0 {
		l.reapSignals()
	}
	return e.opError("finalize", err)
}

// Pending returns the conditions that the event waits for, Timeout if a timeout is running, and the flags that the callback of an active
// event will be called with. Any goroutine.
func (e *Event) Pending() Flags {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	return e.pending()
}

func (e *Event) pending() Flags {
	what := Flags(0)
	if e.state&stateAdded != 0 {
		what = e.conditions | e.kind&Signal
	}
	if e.heapIndex >= 0 {
		what |= Timeout
	}
	if e.state&stateActive != 0 {
		what |= e.what
	}
	return what
}

// Added reports whether the event is added: after Add, until Del, Finalize or Loop.Close, until its call begins if it has no
// Persist, or until the loop finds its descriptor closed. Any goroutine.
func (e *Event) Added() bool {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	return e.state&stateAdded != 0
}

// Remaining returns the time until the timeout, at least 0, and false if no timeout is running. Any goroutine.
func (e *Event) Remaining() (time.Duration, bool) {
	e.loop.mu.Lock()
	now := e.loop.readClock()
	defer e.loop.mu.Unlock()
	if e.heapIndex < 0 {
		return 0, false
	}
	return max(0, e.deadline-now), true
}

// Err returns ErrStale if the loop has found that the event's descriptor was closed before Del, until the next Add; else
// nil. Any goroutine.
func (e *Event) Err() error {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	if e.state&stateStale != 0 {
		return e.opError("watch", ErrStale)
	}
	return nil
}

// SetPriority sets the priority: 0, the most urgent, to Loop.Priorities()-1. Errors: ErrInvalid, and ErrPending while the event is active.
// Any goroutine.
func (e *Event) SetPriority(p int) error {
	l := e.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if p < 0 || p >= len(l.active.lists) {
		return e.opError("set priority", invalid("priority %d of %d", p, len(l.active.lists)))
	}
	if e.state&stateActive != 0 {
		return e.opError("set priority", ErrPending)
	}
	if e.heapIndex < 0 {
		e.priority = uint8(p)
		return nil
	}
	l.timers.remove(e)
	e.priority = uint8(p)
	l.timers.set(e)
	return nil
}

// SetName sets the name that Dump and the log of slow callbacks show. An empty name restores that of the function. Any goroutine.
func (e *Event) SetName(name string) {
	e.loop.mu.Lock()
	e.name = &name
	e.loop.mu.Unlock()
}

// FD returns the descriptor, the signal's number, or -1. Any goroutine.
func (e *Event) FD() int { return int(e.fd) }

// Flags returns the flags given to NewEvent, with the conditions as SetConditions has changed them. Any goroutine.
func (e *Event) Flags() Flags {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	return e.flags()
}

func (e *Event) flags() Flags { return e.kind | e.conditions }

// Priority returns the event's priority. Any goroutine.
func (e *Event) Priority() int {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	return int(e.priority)
}

// Loop returns the loop that the event belongs to. Any goroutine.
func (e *Event) Loop() *Loop { return e.loop }

func (e *Event) opError(op string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case e.kind&Signal != 0:
		return fmt.Errorf("%s signal event %d: %w", op, e.fd, err)
	case e.fd >= 0:
		return fmt.Errorf("%s event of descriptor %d: %w", op, e.fd, err)
	}
	return fmt.Errorf("%s event: %w", op, err)
}
