package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// The errors of this package. Test for them with errors.Is: returned errors add the operation and the value. An error that is described as
// the reason of a connection is passed to Handler.Close.
var (
	// ErrInvalid reports a wrong argument or field of a configuration. The text names it and its value.
	ErrInvalid = errors.New("server: invalid argument or configuration")
	// ErrNotStarted reports that Start has to be called first.
	ErrNotStarted = errors.New("server: not started")
	// ErrUnsupported reports that the system, or this kind of connection or listener, does not support the operation.
	ErrUnsupported = errors.New("server: not supported")

	// ErrServerClosed reports that the server was shut down or is being shut down. It is the result of Serve and ListenAndServe, and the
	// reason of the connections that the shutdown closes. It matches net.ErrClosed.
	ErrServerClosed error = &alsoError{"server: closed", net.ErrClosed}
	// ErrLoopClosed reports that the program has closed a loop of Server.UseLoops. It is the reason of the connections of that loop. It
	// matches net.ErrClosed.
	ErrLoopClosed error = &alsoError{"server: loop is closed", net.ErrClosed}
	// ErrListenerClosed is the result of Serve and ListenAndServe after Listener.Close. It matches net.ErrClosed.
	ErrListenerClosed error = &alsoError{"server: listener is closed", net.ErrClosed}
	// ErrClosed reports that the connection is closed, or is being closed and accepts no more output. Nothing was accepted. It matches
	// net.ErrClosed.
	ErrClosed error = &alsoError{"server: connection is closed", net.ErrClosed}
	// ErrReplyEnded reports that the function that the Reply was given to has returned or, after Reply.Defer, that Reply.Close was called.
	// It matches net.ErrClosed, and not ErrClosed, since the connection may be open.
	ErrReplyEnded error = &alsoError{"server: reply has ended", net.ErrClosed}

	// ErrPeerClosed is the cause of a Context that has ended because the peer has closed its sending half, for a CancelHandler. The connection
	// may still take output. It matches io.EOF.
	ErrPeerClosed error = &alsoError{"server: the peer has closed its sending half", io.EOF}

	// ErrFull reports that a write was refused at a limit: of a connection's output, of the server's memory or files, of the datagrams in
	// the workers' queue, or of the kernel's buffer for datagrams. Nothing was accepted.
	ErrFull = errors.New("server: buffer is full")
	// ErrServerFull reports that the server holds MaxBuffered bytes or more. Nothing was accepted. It matches ErrFull.
	ErrServerFull error = &alsoError{"server: the server's buffers are full", ErrFull}
	// ErrOverload is the reason of a connection that was closed because the workers' queue was full, with FullCloseConn, or because of
	// MaxBuffered. At MaxConns it is the error of Dial and AddConn.
	ErrOverload = errors.New("server: overloaded")

	// ErrIdle is the reason of a connection that IdleTimeout has closed. It and the next seven errors are net.Errors whose Timeout method
	// returns true, and match os.ErrDeadlineExceeded.
	ErrIdle error = timeoutError("server: connection was idle for too long")
	// ErrFirstRequest is the reason of a connection that FirstRequestTimeout has closed.
	ErrFirstRequest error = timeoutError("server: no request arrived in time")
	// ErrReadTimeout is the reason of a connection that ReadTimeout has closed: a request had begun and was not complete in time.
	ErrReadTimeout error = timeoutError("server: request was not complete in time")
	// ErrWriteTimeout is the reason of a connection that WriteTimeout has closed: the peer took no output.
	ErrWriteTimeout error = timeoutError("server: peer does not read")
	// ErrCloseTimeout is the reason of a connection that CloseTimeout has closed: during a close or a Shutdown the peer took no output.
	ErrCloseTimeout error = timeoutError("server: connection was not closed in time")
	// ErrReplyTimeout is the reason of a connection with a deferred reply that was not closed within its timeout. See Reply.Defer.
	ErrReplyTimeout error = timeoutError("server: deferred reply was not closed in time")
	// ErrQueueTimeout is the reason of a connection with a request that has waited in a queue for longer than Server.QueueTimeout.
	ErrQueueTimeout error = timeoutError("server: request waited in the queue for too long")
	// ErrDialTimeout is the reason of a connection that Dial did not establish within DialConfig.Timeout or the deadline of its context.
	ErrDialTimeout error = timeoutError("server: dial timed out")

	// ErrAborted is the reason of a connection that Abort has closed, or whose Dial's context was cancelled before Open.
	ErrAborted = errors.New("server: connection was aborted")
	// ErrDetached is the reason of a connection that Detach has removed from the server.
	ErrDetached = errors.New("server: connection was detached")
	// ErrTooLong is the reason of a connection whose handler has left more than MaxInput bytes of input unconsumed. It is also the error of
	// Input.Peek of more than that.
	ErrTooLong = errors.New("server: input is too long")
	// ErrHandshake is the reason of a connection whose TLS handshake failed or was not complete in time.
	ErrHandshake = errors.New("server: TLS handshake failed")
	// ErrProxyHeader is the reason of a connection that did not begin with a valid PROXY header in time.
	ErrProxyHeader = errors.New("server: invalid PROXY header")
	// ErrHandler is the reason of a connection whose handler broke its contract, for example by consuming more than it was given.
	ErrHandler = errors.New("server: handler broke its contract")
	// ErrPanic is the reason of a connection of which a callback has panicked or called runtime.Goexit. See Server.OnPanic.
	ErrPanic = errors.New("server: handler panicked")

	// ErrYield is no failure. A Handler's Data returns it, as a function of fs.WalkDir returns fs.SkipDir, so that the bytes that it has
	// not consumed are given to it in the next turn, after the other connections. It has no effect if Data has consumed nothing; then Data
	// is called when more bytes have arrived.
	ErrYield = errors.New("server: handler yields")
)

// The reasons of connections that HandshakeTimeout has closed. They are timeouts, too.
var (
	errHandshakeTimeout = fmt.Errorf("%w: %w", ErrHandshake, timeoutError("it was not complete in time"))
	errProxyTimeout     = fmt.Errorf("%w: %w", ErrProxyHeader, timeoutError("it was not complete in time"))
)

// An alsoError is an error of this package that also matches another one.
type alsoError struct {
	text string
	also error
}

func (e *alsoError) Error() string        { return e.text }
func (e *alsoError) Is(target error) bool { return target == e.also }

// A timeoutError is a net.Error for a deadline that has passed.
type timeoutError string

func (e timeoutError) Error() string      { return string(e) }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return true }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

var _ net.Error = timeoutError("")

// A ShutdownError reports that the context of a Shutdown ended first: connections were aborted, or handlers and callbacks that did not
// watch their context still run.
type ShutdownError struct {
	Handlers int   // handlers of requests, and TLS handshakes, that had not returned
	Loops    int   // loops blocked by a callback, and loops of UseLoops that did not run; their connections are aborted when the loops continue
	Conns    int   // connections that were aborted
	Deferred int   // replies of these connections that Reply.Defer had kept open, and for which Reply.Close was not called
	Cause    error // the cause of the context
}

// Error returns a text with the cause and the numbers. Any goroutine.
func (e *ShutdownError) Error() string {
	text := fmt.Sprintf("server: shutdown: %v: %d connections aborted, %d handlers still running", e.Cause, e.Conns, e.Handlers)
	if e.Loops > 0 {
		text += fmt.Sprintf(", %d loops still blocked", e.Loops)
	}
	if e.Deferred > 0 {
		text += fmt.Sprintf(", %d deferred replies not closed", e.Deferred)
	}
	return text
}

// Unwrap returns the cause of the context. Any goroutine.
func (e *ShutdownError) Unwrap() error { return e.Cause }
