package client

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// The errors of this package. Test for them with errors.Is: returned errors add the operation and the value.
var (
	// ErrNoAnswer reports that a request was given to a connection that has ended before the answer was complete. The error also wraps the
	// reason, for example io.EOF if the peer has closed the connection, framing.ErrTooLong or ErrAnswerTimeout. The peer may have carried the
	// request out.
	ErrNoAnswer = errors.New("client: no answer")
	// ErrAnswerTimeout reports that AnswerTimeout has ended the connection. It is a net.Error whose Timeout method returns true, and matches
	// os.ErrDeadlineExceeded.
	ErrAnswerTimeout error = timeoutError("client: answer did not arrive in time")
	// ErrUnexpected is the reason of a connection whose peer has sent bytes without a request. The connection is ended, since the next
	// answer could not be told from them.
	ErrUnexpected = errors.New("client: bytes that answer no request")
	// ErrClosed reports that Close was called. It matches net.ErrClosed.
	ErrClosed = fmt.Errorf("client: %w", net.ErrClosed)
)

// A timeoutError is a net.Error for a deadline that has passed.
type timeoutError string

func (e timeoutError) Error() string      { return string(e) }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return true }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

var _ net.Error = timeoutError("")

// noAnswer returns the error of a request whose connection has ended with reason.
func noAnswer(reason error) error {
	if reason == nil {
		reason = net.ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrNoAnswer, reason)
}

// sentAgain returns the error of a request that has failed with err when it was sent again, after it had failed with first. If first is nil,
// it was not sent before. A second failure does not change that the peer may have carried the request out the first time.
func sentAgain(first, err error) error {
	if first == nil || errors.Is(err, ErrNoAnswer) {
		return err
	}
	return fmt.Errorf("%w; sent again: %w", first, err)
}
