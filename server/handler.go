package server

import "fmt"

// A Handler serves the connections of a server. All methods run on the connection's loop, one at a time, and must
// not block: all connections of the loop would wait. Work that blocks is passed to the workers; see Dispatch and Requests.
//
// A Handler may have more than these methods: those of EOFHandler, MarkHandler, LastDataHandler, LimitHandler, InputErrorHandler,
// CheckHandler and ShutdownHandler. A Handler that wraps another one has a method Unwrap() Handler that returns it: the server takes each
// of these interfaces from the first Handler of the chain that has it. So a wrapper replaces the interfaces that it implements, and keeps
// the others. See FindHandler.
type Handler interface {
	// Open is called once, before the other methods. Only Close may be called without it. The connection may be written to. Loop only.
	Open(c *Conn)
	// Data is called with the bytes that have arrived and are not consumed yet, and returns how many of them it consumes. The rest is kept
	// and given to Data again: at once if Data has consumed something, so that a handler may consume one message at a time, and otherwise
	// when more bytes have arrived. At most MaxInput bytes are kept. p is valid until Data returns; see Conn.ReadInto for bytes that the
	// handler keeps.
	//
	// Data may return ErrYield to let the other connections take their turn first. Any other error closes the connection once its output is
	// flushed, and is the reason that Close is called with. Loop only.
	Data(c *Conn, p []byte) (n int, err error)
	// Close is called once, after all other methods, when the connection's descriptor is closed, no request of it is in progress and no
	// file is being read for it. When Shutdown's context has ended, Close does not wait for requests and files. It is called without Open
	// if a connection of Dial, or of AddConn with ConnConfig.Client, ends before it is open.
	//
	// The reason is nil after Conn.Close when all is flushed, io.EOF when the peer has closed and all is flushed, ErrServerClosed after a
	// Shutdown in which all requests were answered and all output was flushed, and otherwise the error that has ended the connection: an
	// error of this package or of the system, the result of Data, or the argument of CloseWithError. Loop only.
	Close(c *Conn, reason error)
}

// An EOFHandler is a Handler that keeps the connection open after the peer has closed its sending half. Without EOF the connection is then
// closed when its requests are answered and its output is flushed.
type EOFHandler interface {
	Handler
	// EOF is called once, when all input before the end was given to Data. The connection stays open for output until the handler closes
	// it. Loop only.
	EOF(c *Conn)
}

// A MarkHandler is a Handler that is called when a connection's output crosses the water marks.
type MarkHandler interface {
	Handler
	// HighWater is called when the output has reached Server.HighWater bytes. The connection is not read from then on. Loop only.
	HighWater(c *Conn)
	// LowWater is called when the output has fallen to Server.LowWater or less after that, and some time after each write that was refused
	// with ErrFull or ErrServerFull. Loop only.
	LowWater(c *Conn)
}

// A LastDataHandler is a Handler that is given the bytes that are left when the peer has closed its sending half, before EOF is called
// or the connection is closed. Without LastData they are dropped.
type LastDataHandler interface {
	Handler
	// LastData is Data for the end of the stream: no bytes come after p. It is called again with the rest as long as it consumes some of it.
	// Bytes that it does not consume are dropped when the connection is closed. Loop only.
	LastData(c *Conn, p []byte) (n int, err error)
}

// A LimitHandler is a Handler whose messages may be longer than MaxInput of the Server.
type LimitHandler interface {
	Handler
	// MaxInput returns the number of bytes that the handler may leave unconsumed; the larger one of this and the server's MaxInput applies.
	// Any goroutine.
	MaxInput() int
}

// An InputErrorHandler is a Handler that answers invalid input.
type InputErrorHandler interface {
	Handler
	// InputError is called before a connection is closed because Data or LastData has returned err, or, with ErrTooLong, because more than
	// MaxInput bytes are not consumed. The handler may write a last answer. It is not called for ErrYield, ErrHandler and ErrOverload. Loop
	// only.
	InputError(c *Conn, err error)
}

// A CheckHandler is a Handler that can be invalid. The functions that it is passed to, such as Start and SetHandler, return its error.
type CheckHandler interface {
	Handler
	// Check returns an error if the Handler is invalid. Any goroutine.
	Check() error
}

// A ShutdownHandler is a Handler that ends its connections itself in a Shutdown, for example with the last message of its protocol. Such a
// connection is read and served until the Handler closes it, or the context of the Shutdown ends, and then it is aborted.
type ShutdownHandler interface {
	Handler
	// Shutdown is called for each open connection of the Handler when a Shutdown begins, also while requests are in progress, so that what it
	// writes may precede their answers. A request that sets the Handler flushes its Reply first if that order matters. If a request sets the
	// Handler after the Shutdown has come to its connection, it is called when the request has ended. It is not called for a connection
	// that is being closed already, nor by Server.Close. Loop only.
	Shutdown(c *Conn)
}

// maxWrapped is the number of handlers that a chain of Unwrap may have. A longer chain is invalid, since it may be a cycle.
const maxWrapped = 100

// unwrap returns the handler that h wraps, or nil.
func unwrap(h Handler) Handler {
	if w, ok := h.(interface{ Unwrap() Handler }); ok {
		return w.Unwrap()
	}
	return nil
}

// FindHandler returns the first Handler of h's chain that is a T, as errors.As does for errors: h, the Handler that it wraps, and so on. T
// is an interface like EOFHandler, or the type of a Handler. Any goroutine.
func FindHandler[T any](h Handler) (t T, ok bool) {
	for range maxWrapped {
		if t, ok = h.(T); ok || h == nil {
			break
		}
		h = unwrap(h)
	}
	return t, ok
}

// checkChain returns an error if h, or a handler that it wraps, is invalid or names an executor that the server does not have.
func (cfg *config) checkChain(h Handler) error {
	for range maxWrapped {
		if h == nil {
			return nil
		}
		if c, ok := h.(CheckHandler); ok {
			if err := c.Check(); err != nil {
				return err
			}
		}
		if err := cfg.checkNames(h); err != nil {
			return err
		}
		h = unwrap(h)
	}
	return fmt.Errorf("%w: Unwrap of handler %T returns a handler after %d others", ErrInvalid, h, maxWrapped)
}

// HandlerFunc is a Handler that has only Data.
type HandlerFunc func(c *Conn, p []byte) (n int, err error)

// Open does nothing. Loop only.
func (f HandlerFunc) Open(*Conn) {}

// Data calls f. Loop only.
func (f HandlerFunc) Data(c *Conn, p []byte) (int, error) { return f(c, p) }

// Check refuses a nil function. Errors: ErrInvalid. Any goroutine.
func (f HandlerFunc) Check() error {
	if f == nil {
		return fmt.Errorf("%w: Handler is a nil HandlerFunc", ErrInvalid)
	}
	return nil
}

// Close does nothing. Loop only.
func (f HandlerFunc) Close(*Conn, error) {}
