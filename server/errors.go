package server

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// The errors of this package, to be tested with errors.Is; what is returned names the operation and the value.
var (
	// ErrServerClosed says that the server is shut down, or being shut down. Serve and ListenAndServe return it then. It matches
	// net.ErrClosed.
	ErrServerClosed error = &alsoError{"server: closed", net.ErrClosed}
	// ErrLoopClosed says that a loop of the server was closed by the program that runs it; see Server.UseLoops. It is the reason of the
	// connections of that loop. It matches net.ErrClosed.
	ErrLoopClosed error = &alsoError{"server: loop is closed", net.ErrClosed}
	// ErrNotStarted says that the server has no loops yet: Start, Serve or ListenAndServe comes first.
	ErrNotStarted = errors.New("server: not started")
	// ErrInvalid says that a field of the configuration makes no sense. The message names it.
	ErrInvalid = errors.New("server: invalid configuration")
	// ErrClosed says that the connection is closed, or closing and taking no more output. Nothing was taken. It matches
	// net.ErrClosed.
	ErrClosed error = &alsoError{"server: connection is closed", net.ErrClosed}
	// ErrFull says that the connection, or the whole server, holds as many bytes as its limit allows. Nothing was taken.
	ErrFull = errors.New("server: buffer is full")
	// ErrServerFull is the ErrFull of the whole server: it holds MaxBuffered bytes. It matches ErrFull.
	ErrServerFull error = &alsoError{"server: the server's buffers are full", ErrFull}
	// ErrAborted is the reason of a connection that Abort closed.
	ErrAborted = errors.New("server: connection was aborted")
	// ErrTooLong is the reason of a connection whose peer sent more than MaxInput bytes that the handler did not consume.
	ErrTooLong = errors.New("server: input is too long")
	// ErrIdle is the reason of a connection closed by IdleTimeout. It and the other errors of time limits, down to ErrCloseTimeout and
	// ErrDialTimeout, are a net.Error whose Timeout is true, and match os.ErrDeadlineExceeded.
	ErrIdle error = timeoutError("server: connection was idle for too long")
	// ErrFirstRequest is the reason of a connection closed by FirstRequestTimeout.
	ErrFirstRequest error = timeoutError("server: no request came in time")
	// ErrReadTimeout is the reason of a connection closed by ReadTimeout: a request that was begun did not end.
	ErrReadTimeout error = timeoutError("server: request did not end in time")
	// ErrWriteTimeout is the reason of a connection closed by WriteTimeout: the peer took no output.
	ErrWriteTimeout error = timeoutError("server: peer does not read")
	// ErrCloseTimeout is the reason of a connection that was being closed, by Close or Shutdown, and whose peer took no
	// output for CloseTimeout.
	ErrCloseTimeout error = timeoutError("server: output was not flushed in time")
	// ErrOverload is the reason of a connection closed because the server was full: of requests, with FullCloseConn, or of
	// buffered bytes.
	ErrOverload = errors.New("server: overloaded")
	// ErrReplyEnded says that the function that the Reply was given to has returned. It matches net.ErrClosed, as the use of anything
	// that is closed does, and not ErrClosed, since the connection may be open.
	ErrReplyEnded error = &alsoError{"server: reply has ended", net.ErrClosed}
	// ErrHandler says that a handler broke its contract, as by consuming more than it was given.
	ErrHandler = errors.New("server: handler broke its contract")
	// ErrYield is not used for failures. A Handler's Data returns it, as a function for fs.WalkDir returns fs.SkipDir, to be given the bytes
	// that it has not consumed in the next turn, after the other connections. It has no effect if Data has consumed nothing; then the bytes
	// come again when there are more.
	ErrYield = errors.New("server: handler yields")
	// ErrPanic is the reason of a connection that was isolated because its handler panicked. See Server.OnPanic.
	ErrPanic = errors.New("server: handler panicked")
	// ErrUnsupported says that the system, or this kind of connection, cannot do what was asked.
	ErrUnsupported = errors.New("server: not supported")
	// ErrDialTimeout is the reason of a dialled connection that was not established in time.
	ErrDialTimeout error = timeoutError("server: dial timed out")
	// ErrHandshake is the reason of a connection whose TLS handshake failed or did not end in time.
	ErrHandshake = errors.New("server: TLS handshake failed")
	// ErrDetached says that the connection was taken out of the server by Detach.
	ErrDetached = errors.New("server: connection was detached")
	// ErrProxyHeader is the reason of a connection that did not begin with a PROXY header, in time, or with a wrong one.
	ErrProxyHeader = errors.New("server: invalid PROXY header")
)

// The reasons of HandshakeTimeout, which are timeouts besides.
var (
	errHandshakeTimeout = fmt.Errorf("%w: %w", ErrHandshake, timeoutError("it did not end in time"))
	errProxyTimeout     = fmt.Errorf("%w: %w", ErrProxyHeader, timeoutError("it did not come in time"))
)

// An alsoError is an error of this package that also matches another one.
type alsoError struct {
	text string
	also error
}

func (e *alsoError) Error() string        { return e.text }
func (e *alsoError) Is(target error) bool { return target == e.also }

// A timeoutError is a net.Error: what was waited for did not happen in time.
type timeoutError string

func (e timeoutError) Error() string      { return string(e) }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Temporary() bool      { return true }
func (timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

var _ net.Error = timeoutError("")

// A ShutdownError says that Shutdown's context ended first: connections were aborted, and handlers and callbacks that did not look at
// their context still run.
type ShutdownError struct {
	Handlers int   // calls of handlers on workers, and TLS handshakes, that had not returned
	Loops    int   // loops that a callback, or what was posted to them, held up; their connections are aborted when they go on
	Conns    int   // connections that were aborted
	Cause    error // of the context
}

// Error has all of it. Any goroutine.
func (e *ShutdownError) Error() string {
	text := fmt.Sprintf("server: shutdown: %v: %d connections aborted, %d handlers still running", e.Cause, e.Conns, e.Handlers)
	if e.Loops > 0 {
		text += fmt.Sprintf(", %d loops held up by a callback", e.Loops)
	}
	return text
}

// Unwrap is the context's cause. Any goroutine.
func (e *ShutdownError) Unwrap() error { return e.Cause }
