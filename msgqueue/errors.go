package msgqueue

import (
	"errors"
	"fmt"
	"net"

	"github.com/evmq/evmq/event"
)

// The errors of this package, to be tested with errors.Is.
var (
	// ErrInvalid reports a wrong argument or field of a Config: a missing callback, or a priority that the loop does not have. The text
	// of the error names it and its value.
	ErrInvalid = errors.New("msgqueue: invalid argument")
	// ErrFull reports that the queue holds as many messages as its bound allows. The message was not accepted.
	ErrFull = errors.New("msgqueue: queue is full")
	// ErrClosed reports that the queue, or its loop, is closed or closing. The message was not accepted. It matches net.ErrClosed, too.
	ErrClosed error = closedError{}
)

// closedError is the type of ErrClosed.
type closedError struct{}

func (closedError) Error() string { return "msgqueue: queue is closed" }

func (closedError) Is(target error) bool { return target == net.ErrClosed }

// invalid returns an ErrInvalid with a text that names the argument and its value.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// loopError turns a closed loop's error into the queue's and keeps the cause.
func loopError(err error) error {
	if errors.Is(err, event.ErrClosed) {
		return fmt.Errorf("%w (%w)", ErrClosed, err)
	}
	return err
}
