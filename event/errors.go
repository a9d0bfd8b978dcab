package event

import (
	"errors"
	"fmt"
	"net"
)

// The errors of this package. Test for them with errors.Is: returned errors add the operation and the value.
var (
	// ErrInvalid reports a wrong argument or field of a Config; the text of the error names it and its value. Examples are a missing
	// callback, a negative timeout, flags that contradict each other or the other events of a descriptor, a priority that the loop
	// does not have, and a signal that cannot be caught.
	ErrInvalid = errors.New("event: invalid argument")
	// ErrClosed reports that the loop is closed or closing. Nothing was accepted. It matches net.ErrClosed, too.
	ErrClosed error = closedError{}
	// ErrOwned reports that only the loop's Owner may run or end it; see Loop.Own. The call did nothing.
	ErrOwned = errors.New("event: loop has an owner")
	// ErrRunning reports that the loop is running already. One goroutine at a time can run it, and callbacks cannot.
	ErrRunning = errors.New("event: loop is running already")
	// ErrOnLoop reports that the call was made on the goroutine of the loop for which it would wait. The call did nothing.
	ErrOnLoop = errors.New("event: call would wait for its own loop")
	// ErrBadDescriptor reports that a descriptor is not open, or does not fit the flags: with conditions of a descriptor it is
	// negative or above 2³¹-1, or without conditions it is not -1.
	ErrBadDescriptor = errors.New("event: bad descriptor")
	// ErrNotPollable reports that the backend cannot watch this kind of file, as epoll cannot watch a regular file.
	ErrNotPollable = errors.New("event: descriptor cannot be polled")
	// ErrNested reports that the descriptor is a poller that is nested too deeply, or watched by too many parked loops.
	ErrNested = errors.New("event: descriptor is nested too deep or watched by too many loops")
	// ErrStale reports that the event's descriptor was closed before Del, or by another goroutine during Add. The event was removed,
	// or not added; its callback is not called for the descriptor that may have taken the number.
	ErrStale = errors.New("event: descriptor was closed while its event was added")
	// ErrPending reports that the event is added or active and cannot be changed.
	ErrPending = errors.New("event: event is pending")
	// ErrNotAdded reports that the event is not added.
	ErrNotAdded = errors.New("event: event is not added")
	// ErrFinalized reports that Finalize was called on the event.
	ErrFinalized = errors.New("event: event is finalized")
	// ErrFull reports that Config.PostLimit functions wait for the loop. The function was not accepted.
	ErrFull = errors.New("event: too many posts")
	// ErrUnsupported reports that the backend or driver lacks a feature or is not available on this system.
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
