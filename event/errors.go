package event

import (
	"errors"
	"fmt"
	"net"
)

// The errors of this package, to be tested with errors.Is; what is returned names the operation and the value.
var (
	// ErrInvalid reports a wrong argument or field of a Config; the text of the error names it and its value. Examples are a missing
	// callback, a negative timeout, flags that contradict each other or the other events of a descriptor, a priority that the loop
	// does not have, and a signal that cannot be caught.
	ErrInvalid = errors.New("event: invalid argument")
	// ErrClosed reports that the loop is closed or closing. Nothing was accepted. It matches net.ErrClosed, too.
	ErrClosed error = closedError{}
	// ErrOwned says that only the loop's owner may run or end it; see Loop.Own. Nothing was done.
	ErrOwned = errors.New("event: loop has an owner")
	// ErrRunning says that the loop runs already: one goroutine at a time runs it, and callbacks do not run it again.
	ErrRunning = errors.New("event: loop is running already")
	// ErrOnLoop says that the call would wait for the loop on whose goroutine it was made. Nothing was done.
	ErrOnLoop = errors.New("event: call would wait for its own loop")
	// ErrBadDescriptor says that a descriptor is negative or not open.
	ErrBadDescriptor = errors.New("event: bad descriptor")
	// ErrNotPollable says that the backend cannot watch this kind of file, as epoll cannot watch a regular file.
	ErrNotPollable = errors.New("event: descriptor cannot be polled")
	// ErrNested says that the descriptor is a poller nested too deep, or watched by too many parked loops.
	ErrNested = errors.New("event: descriptor is nested too deep or watched by too many loops")
	// ErrStale says that the event's descriptor was closed before Del, or by another goroutine during Add. The event was removed,
	// or not added; its callback is not called for the descriptor that may have taken the number.
	ErrStale = errors.New("event: descriptor was closed while its event was added")
	// ErrPending says that the event is added or active and cannot be changed now.
	ErrPending = errors.New("event: event is pending")
	// ErrNotAdded says that the event has to be added first.
	ErrNotAdded = errors.New("event: event is not added")
	// ErrFinalized says that Finalize was called on the event.
	ErrFinalized = errors.New("event: event is finalized")
	// ErrFull says that as many posts as the limit allows wait for the loop. Nothing was taken.
	ErrFull = errors.New("event: too many posts")
	// ErrUnsupported says that the backend or the driver cannot do what was asked, or does not exist here.
	ErrUnsupported = errors.New("event: not supported")
)

// closedError is the type of ErrClosed.
type closedError struct{}

func (closedError) Error() string { return "event: loop is closed" }

func (closedError) Is(target error) bool { return target == net.ErrClosed }

// errNilFunc is the error for a missing callback.
var errNilFunc = invalid("callback is nil")

// invalid returns an ErrInvalid with a text that names the argument and its value.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
