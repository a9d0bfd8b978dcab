package websocket

import (
	"errors"
	"os"

	"github.com/evmq/evmq/server"
)

// The errors of this package. Test for them with errors.Is: returned errors add the operation and the value.
var (
	// ErrInvalid reports a wrong argument or field of a configuration. The text names it and its value.
	ErrInvalid = errors.New("websocket: invalid argument or configuration")
	// ErrHandshake reports that a request is not a valid opening handshake of a WebSocket or was refused, or that the server has not accepted the
	// handshake of Dial.
	ErrHandshake = errors.New("websocket: bad handshake")
	// ErrClosed reports that the WebSocket is closed or is being closed, and accepts no more messages. Nothing was accepted. It matches
	// net.ErrClosed.
	ErrClosed = server.ErrClosed
	// ErrFull reports that a message was not accepted because as many bytes wait for the peer as Config.MaxOutput permits, or as the server
	// may hold. Nothing was accepted.
	ErrFull = server.ErrFull

	// ErrCloseTimeout is the Err of a CloseError if the peer has not answered the close frame within Config.CloseTimeout. It and the next
	// two errors have a method Timeout that returns true, and match os.ErrDeadlineExceeded.
	ErrCloseTimeout error = timeoutError("websocket: the peer has not answered the close frame in time")
	// ErrPongTimeout is the Err of a CloseError if nothing has arrived within Config.PongTimeout after a ping.
	ErrPongTimeout error = timeoutError("websocket: the peer has not answered a ping in time")
	// ErrIdle is the Err of a CloseError if no message was sent or received for Config.IdleTimeout.
	ErrIdle error = timeoutError("websocket: no message was sent or received in time")
)

// timeoutError is the error of a deadline.
type timeoutError string

func (e timeoutError) Error() string { return string(e) }

// Timeout implements net.Error. Any goroutine.
func (e timeoutError) Timeout() bool { return true }

// Temporary implements net.Error. Any goroutine.
func (e timeoutError) Temporary() bool { return true }

// Is makes the error match os.ErrDeadlineExceeded. Any goroutine.
func (e timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }
