package event

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// An Event is something a loop waits for, with the callback that runs on the loop when it happens. It waits from Add to
// Del; without Persist it is removed just before its callback is called. An Event that nobody refers to and that is not
// added is garbage like any other; there is nothing to free. The zero Event is memory for InitEvent and good for nothing
// else; after that an Event must not be copied.
type Event struct {
	_ noCopy

	loop *Loop
	fn   func(e *Event, what Flags)
	name *string // nil for the function's own

	// Fixed by InitEvent.
	fd   int32 // descriptor, or the signal's number; -1 for a timer or a user's event
	kind Flags // Signal, Persist and EdgeTriggered

	// The rest belongs to loop.mu. The order leaves no gaps: a loop may have very many events.
	priority   uint8 // changes only while it is not active; says which heap of loop.timers it is in
	state      eventState
	conditions Flags  // of the descriptor: Read, Write, Closed and HangUp
	what       Flags  // what the next callback will be told
	calls      int32  // callbacks owed to a signal that came several times
	heapIndex  int32  // in its heap of loop.timers; -1 outside
	wave       uint32 // the dispatch that found it active, or during which it became so
	interval   time.Duration
	deadline   time.Duration // by loop.clock, while heapIndex >= 0
	seq        uint64        // order of Add, for equal deadlines
	nextPeer   *Event        // the next event of the same descriptor

	prevActive, nextActive *Event
}

// noCopy makes go vet find copies of what contains it.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

type eventState uint8

const (
	stateAdded     eventState = 1 << iota // between Add and Del, or its one call
	stateActive                           // in the active queue
	stateInternal                         // the loop's own: keeps no Run going and is not counted
	stateFinalized                        // Finalize was called
	stateStale                            // ended because its descriptor was closed
	stateAsked                            // active by Activate(0): to be called even if there is nothing to tell
	stateDelivered                        // active for a delivery of its signal, which the next one does not share a call with
)

// NewEvent makes an event for a descriptor (Read, Write, Closed, HangUp), a signal (Signal, with the number as fd), a timer or
// a user's own event (no condition; fd is -1), with Persist and EdgeTriggered as wished. fn is called on the loop with
// the event and what has happened. The descriptor stays the caller's: Del comes before its close.
//
// Errors: ErrFlags, ErrBadDescriptor, ErrSignal, ErrNilFunc, ErrClosed; ErrUnsupported where the backend cannot do
// EdgeTriggered or Closed. Any goroutine.
func (l *Loop) NewEvent(fd int, flags Flags, fn func(e *Event, what Flags)) (*Event, error) {
	e := new(Event)
	if err := l.initEvent(e, fd, flags, fn); err != nil {
		return nil, fmt.Errorf("new event for descriptor %d, %v: %w", fd, flags, err)
	}
	return e, nil
}

// InitEvent is NewEvent in memory of the caller's: an Event that is part of a larger struct needs no allocation of its own.
// The event is zero, or neither added nor active; then nothing is left of what it was, neither priority nor name. Its callback
// may be running if it stays with its loop. No method of the event may be called at the same time. Errors: ErrPending, and
// NewEvent's; the event is as it was then. Any goroutine.
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
		return ErrNilFunc
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

// forgot reports whether l touches e no more.
func (l *Loop) forgot(e *Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.state&(stateAdded|stateActive) == 0 && l.running != e
}

func (e *Event) init(l *Loop, fd int, flags Flags, fn func(*Event, Flags)) {
	*e = Event{
		loop: l, fn: fn, fd: int32(fd), kind: flags &^ (Timeout | readiness), conditions: flags & readiness,
		priority: uint8(len(l.active.levels) / 2), heapIndex: -1, interval: NoTimeout,
	}
}

// ofDescriptor reports whether e was made for a descriptor, though it may wait for none of its conditions now.
func (e *Event) ofDescriptor() bool { return e.fd >= 0 && e.kind&Signal == 0 }

func (l *Loop) checkKind(fd int, flags Flags) error {
	conditions := flags & (readiness | Signal)
	switch {
	case flags&^allFlags != 0:
		return ErrFlags
	case flags&Signal != 0 && flags&(readiness|EdgeTriggered) != 0:
		return ErrFlags
	case flags&Signal != 0:
		return checkSignal(fd)
	case conditions == 0 && flags&EdgeTriggered != 0:
		return ErrFlags
	case conditions == 0 && fd != -1, conditions != 0 && (fd < 0 || int(int32(fd)) != fd):
		return ErrBadDescriptor
	case flags&EdgeTriggered != 0 && !l.features.Has(FeatureEdge), flags&Closed != 0 && !l.features.Has(FeatureClosed):
		return ErrUnsupported
	}
	return nil
}

// NewTimer makes an event that is called once, the time given to Add after it. Any goroutine.
func (l *Loop) NewTimer(fn func(e *Event, what Flags)) (*Event, error) { return l.NewEvent(-1, 0, fn) }

// NewTicker makes an event that is called again and again at the interval given to Add. The calls do not drift: each is
// due one interval after the last was due. After a long stop there is one call to catch up, not many. Any goroutine.
func (l *Loop) NewTicker(fn func(e *Event, what Flags)) (*Event, error) {
	return l.NewEvent(-1, Persist, fn)
}

// AfterFunc calls fn on the loop when d has passed, and in its next turn if d is 0 or negative, as time.AfterFunc does for a time
// that has passed. Del of the event that it returns cancels it. Errors: ErrNilFunc, ErrClosed. Any goroutine.
func (l *Loop) AfterFunc(d time.Duration, fn func()) (*Event, error) {
	if fn == nil {
		return nil, fmt.Errorf("after func: %w", ErrNilFunc)
	}
	return l.once(-1, 0, max(0, d), func(*Event, Flags) { fn() }, fn)
}

// Once calls fn once, when fd is ready as flags say or timeout has passed. Flags are conditions of a descriptor, or none
// with fd -1; with no condition and timeout 0 calls come in the order of Once. Del of the event cancels it. Any goroutine.
func (l *Loop) Once(fd int, flags Flags, timeout time.Duration, fn func(what Flags)) (*Event, error) {
	if flags&(Signal|Persist) != 0 {
		return nil, fmt.Errorf("once for descriptor %d, %v: %w", fd, flags, ErrFlags)
	}
	if fn == nil {
		return nil, fmt.Errorf("once for descriptor %d, %v: %w", fd, flags, ErrNilFunc)
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

// Add begins to wait. Without a report after timeout (NoTimeout for none, 0 for the loop's next turn) the callback is
// told Timeout; a persistent event then waits for the same time again, counted from when this timeout was due, and from
// the callback if a condition or Activate called it. On an event that is added already, a timeout replaces the former
// one, and takes back a Timeout that is not delivered yet; NoTimeout keeps it.
//
// Errors: ErrTimeout, ErrClosed, ErrFinalized, ErrBadDescriptor, ErrNotPollable, ErrNested, ErrFlags where the events of the
// descriptor differ in EdgeTriggered, ErrStale where the descriptor is closed and its number given to another file during the
// call; the event is as it was then. Any goroutine.
func (e *Event) Add(timeout time.Duration) error {
	if timeout < 0 {
		return e.opError("add", fmt.Errorf("%w: %v", ErrTimeout, timeout))
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

// SetConditions changes what an event of a descriptor waits for: any of Read, Write, Closed and HangUp, or 0 for none; Persist and
// EdgeTriggered stay as they are. If the event is not added, it counts from the next Add. If it is, it counts at once: a
// condition that is taken away and not delivered yet is taken back, and an edge-triggered one that holds already
// is reported. With 0 the event stays added and its timeout goes on, but its descriptor is not looked at.
//
// Errors: ErrFlags, also for an event without a descriptor; ErrUnsupported where the backend cannot do Closed; ErrClosed,
// ErrFinalized, ErrNotPollable, ErrNested; the event is as it was then. ErrStale says that the descriptor was closed before
// Del and the event has ended, until the next Add. Any goroutine.
func (e *Event) SetConditions(conditions Flags) error {
	l := e.loop
	var err error
	switch {
	case conditions&^readiness != 0, !e.ofDescriptor():
		err = fmt.Errorf("%w: %v", ErrFlags, conditions)
	case conditions&Closed != 0 && !l.features.Has(FeatureClosed):
		err = fmt.Errorf("%w: %v", ErrUnsupported, conditions)
	default:
		l.mu.Lock()
		err = l.setConditions(e, conditions)
		l.unlock()
	}
	return e.opError("set conditions of", err)
}

// RemoveTimeout takes the timeout away, also one that has passed and is not delivered yet, and leaves the rest pending. Any
// goroutine.
func (e *Event) RemoveTimeout() {
	l := e.loop
	l.mu.Lock()
	l.timers.remove(e)
	e.interval = NoTimeout
	if e.state&stateAdded != 0 {
		l.takeBack(e, Timeout)
		l.keepUser(e, NoTimeout)
	}
	l.mu.Unlock()
}

// Del ends the waiting. No callback of the event is chosen after it returns; a call chosen before may still begin on
// another goroutine, and DelWait excludes that too. On the loop itself Del is exact. Of an event that is not added it does
// nothing. ErrStale says that the descriptor was closed before Del; the event is removed all the same. Any goroutine.
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

// DelWait is Del, and waits until a callback of the event that runs has returned; then the event is not added, even if that
// callback has added it. In the loop's callbacks, the event's own included, there is nothing to wait for, and DelWait is Del. When
// ctx ends first its cause is returned; the event was removed, and the callback that still runs may add it again.
//
// In a callback of another loop it stops that loop meanwhile. Callbacks of two loops that wait for each other's events wait until
// a context ends. May block; in a callback of its own loop it does not.
func (e *Event) DelWait(ctx context.Context) error {
	l := e.loop
	l.mu.Lock()
	err := l.del(e)
	done := l.awaitReturn(e) // in the same critical section: the callback may add the event as soon as it is removed
	l.unlock()
	if done != nil {
		select {
		case <-done:
			err = cmp.Or(err, e.Err()) // finish has removed it once more
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

// Activate makes the callback run with what, as if it had happened; before the callback runs, further activations and
// reports add their flags to the same call. The event need not be added. What is any of Timeout, Read, Write, Signal,
// Closed and HangUp, or 0. Signal is no delivery of the signal: it shares the call of one that waits or comes. Errors: ErrFlags, ErrClosed,
// ErrFinalized. Any goroutine.
func (e *Event) Activate(what Flags) error {
	if what&^outcomes != 0 {
		return e.opError("activate", fmt.Errorf("%w: %v", ErrFlags, what))
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

// Finalize removes the event for good and calls fn on the loop when no callback of it runs or can run any more: the
// place to close its descriptor. Afterwards Add and Activate fail with ErrFinalized and Del does nothing. A
// loop that closes calls the finalizers that wait. Errors: ErrFinalized, ErrClosed, ErrNilFunc; and ErrStale as Del returns
// it, where fn is called all the same. Any goroutine.
func (e *Event) Finalize(fn func(e *Event)) error {
	if fn == nil {
		return e.opError("finalize", ErrNilFunc)
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

// Pending returns the conditions that the event waits for, Timeout if a timeout runs, and what an active event's
// callback will be told. Any goroutine.
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

// Added reports whether the event is between Add and Del. Any goroutine.
func (e *Event) Added() bool {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	return e.state&stateAdded != 0
}

// Remaining returns the time until the timeout, not below 0, and false if none runs. Any goroutine.
func (e *Event) Remaining() (time.Duration, bool) {
	e.loop.mu.Lock()
	now := e.loop.readClock()
	defer e.loop.mu.Unlock()
	if e.heapIndex < 0 {
		return 0, false
	}
	return max(0, e.deadline-now), true
}

// Err is ErrStale from when the loop finds that the event's descriptor was closed before Del until the next Add, else
// nil. Any goroutine.
func (e *Event) Err() error {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	if e.state&stateStale != 0 {
		return e.opError("watch", ErrStale)
	}
	return nil
}

// SetPriority changes the priority, 0 the most urgent. Errors: ErrPriority, and ErrPending while the event is active.
// Any goroutine.
func (e *Event) SetPriority(p int) error {
	l := e.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if p < 0 || p >= len(l.active.levels) {
		return e.opError("set priority", fmt.Errorf("%w: %d of %d", ErrPriority, p, len(l.active.levels)))
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

// SetName gives the event the name that Dump and the slow-callback log show. Any goroutine.
func (e *Event) SetName(name string) {
	e.loop.mu.Lock()
	e.name = &name
	e.loop.mu.Unlock()
}

// FD is the descriptor, the signal's number, or -1. Any goroutine.
func (e *Event) FD() int { return int(e.fd) }

// Flags returns the manner that NewEvent was given, and the conditions, which SetConditions may have changed. Any goroutine.
func (e *Event) Flags() Flags {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	return e.flags()
}

func (e *Event) flags() Flags { return e.kind | e.conditions }

// Priority is the event's priority. Any goroutine.
func (e *Event) Priority() int {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	return int(e.priority)
}

// Loop is the loop that the event belongs to. Any goroutine.
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
