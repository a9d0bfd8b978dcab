package event

import "errors"

// The errors of this package, to be tested with errors.Is; what is returned names the operation and the value.
var (
	// ErrClosed says that the loop is closed or closing. Nothing was taken.
	ErrClosed = errors.New("event: loop is closed")
	// ErrOwned says that only the loop's owner may run or end it; see Loop.Own. Nothing was done.
	ErrOwned = errors.New("event: loop has an owner")
	// ErrRunning says that the loop runs already: one goroutine at a time runs it, and callbacks do not run it again.
	ErrRunning = errors.New("event: loop is running already")
	// ErrOnLoop says that the call would wait for the loop on whose goroutine it was made. Nothing was done.
	ErrOnLoop = errors.New("event: call would wait for its own loop")
	// ErrFlags says that flags contradict each other or the other events of the descriptor.
	ErrFlags = errors.New("event: invalid flags")
	// ErrBadDescriptor says that a descriptor is negative or not open.
	ErrBadDescriptor = errors.New("event: bad descriptor")
	// ErrNotPollable says that the backend cannot watch this kind of file, as epoll cannot watch a regular file.
	ErrNotPollable = errors.New("event: descriptor cannot be polled")
	// ErrNested says that the descriptor is a poller nested too deep, or watched by too many parked loops.
	ErrNested = errors.New("event: descriptor is nested too deep or watched by too many loops")
	// ErrStale says that the event's descriptor was closed before Del, or by another goroutine during Add. The event was removed,
	// or not added; its callback is not called for the descriptor that may have taken the number.
	ErrStale = errors.New("event: descriptor was closed while its event was added")
	// ErrTimeout says that a timeout or an interval is negative.
	ErrTimeout = errors.New("event: negative timeout")
	// ErrPriority says that a priority is not below the loop's number of priorities.
	ErrPriority = errors.New("event: priority out of range")
	// ErrPending says that the event is added or active and cannot be changed now.
	ErrPending = errors.New("event: event is pending")
	// ErrNotAdded says that the event has to be added first.
	ErrNotAdded = errors.New("event: event is not added")
	// ErrFinalized says that Finalize was called on the event.
	ErrFinalized = errors.New("event: event is finalized")
	// ErrSignal says that this is no signal that a program can catch.
	ErrSignal = errors.New("event: signal cannot be caught")
	// ErrFull says that as many posts as the limit allows wait for the loop. Nothing was taken.
	ErrFull = errors.New("event: too many posts")
	// ErrUnsupported says that the backend or the driver cannot do what was asked, or does not exist here.
	ErrUnsupported = errors.New("event: not supported")
	// ErrOption says that an option's value makes no sense.
	ErrOption = errors.New("event: invalid option")
	// ErrNilFunc says that a callback is missing.
	ErrNilFunc = errors.New("event: nil callback")
)
