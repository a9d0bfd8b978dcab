package server

import "fmt"

// A Handler is what a server does with its connections. All methods run on the connection's loop, one at a time, and must
// not block: all connections of the loop would wait. What blocks goes to the workers; see Dispatch.
//
// A Handler may have more than these methods: those of EOFHandler, MarkHandler, LastDataHandler, LimitHandler, InputErrorHandler and
// CheckHandler. A Handler that wraps another one has a method Unwrap() Handler that returns it: the server takes each of these
// interfaces from the first Handler of the chain that has it. So a wrapper replaces what it implements, and loses nothing else.
type Handler interface {
	// Open is called once, before anything else. The connection may be written to.
	Open(c *Conn)

	// Data is called with the bytes that have come and are not consumed yet, and returns how many of them it consumes. The
	// rest is kept and comes again: at once if Data consumed something, so that a handler may take one message at a
	// time, else when there is more. p is borrowed until Data returns; see Conn.ReadInto for bytes that are to stay. With ErrYield,
	// if it has consumed something, the rest comes in the next turn, after the other connections; any other error closes the
	// connection once its output is flushed, and is the reason that Close is told. Nothing more than MaxInput is kept.
	Data(c *Conn, p []byte) (n int, err error)

	// Close is called once, last, without Open before it if Dial could not connect: when the connection's descriptor is closed, no
	// request of it is in work and no file of it is read any more, or when Shutdown's context has ended and these are not waited for. The reason is nil
	// after Close and all is flushed, io.EOF when the peer has closed and all is flushed, ErrServerClosed after a Shutdown
	// that left nothing undone, else what went wrong: one of this package's errors, or the system's.
	Close(c *Conn, reason error)
}

// An EOFHandler is a Handler that wants to go on when the peer has closed its sending half. Without it the connection is
// closed then, when its requests are answered and its output is flushed.
type EOFHandler interface {
	Handler
	// EOF is called once, on the loop, when everything the peer sent has been given to Data. The connection stays open
	// for output until it is closed here.
	EOF(c *Conn)
}

// A MarkHandler is a Handler that wants to know when a connection's output crosses the water marks, on the loop.
type MarkHandler interface {
	Handler
	HighWater(c *Conn) // the output has come to HighWater bytes or more; the connection is not read from any more
	LowWater(c *Conn)  // and has fallen to LowWater or less again; also some time after each write that was refused with ErrFull
}

// A LastDataHandler is a Handler that is given the bytes that are left when the peer has closed its sending half, before EOF is called
// or the connection is closed. Without it they are dropped.
type LastDataHandler interface {
	Handler
	// LastData is Data with the knowledge that nothing comes after p. It is called again with the rest as long as it consumes some of it;
	// what it does not consume then is dropped when the connection is closed. Loop only.
	LastData(c *Conn, p []byte) (n int, err error)
}

// A LimitHandler is a Handler that needs more input kept than MaxInput of the Server: a message that is longer, for instance.
type LimitHandler interface {
	Handler
	// MaxInput is how many bytes the handler may leave unconsumed; the larger one of this and the server's MaxInput counts. Any goroutine.
	MaxInput() int
}

// An InputErrorHandler is a Handler that answers input that it cannot have or does not understand.
type InputErrorHandler interface {
	Handler
	// InputError is called before a connection is closed because Data or LastData returned err, or with ErrTooLong because more than
	// MaxInput bytes are not consumed. The connection takes a last write. It is not called for ErrYield, ErrHandler and ErrOverload. Loop only.
	InputError(c *Conn, err error)
}

// A CheckHandler is a Handler that can be wrong. The calls that give it to a server or a connection fail with its error.
type CheckHandler interface {
	Handler
	Check() error // Any goroutine.
}

// maxWrapped is how many handlers a chain of Unwrap may have. A chain that is longer is taken for one that has no end.
const maxWrapped = 100

// unwrap is the handler that h wraps, nil if there is none.
func unwrap(h Handler) Handler {
	if w, ok := h.(interface{ Unwrap() Handler }); ok {
		return w.Unwrap()
	}
	return nil
}

// FindHandler returns the first Handler of h's chain that is a T, as errors.As does for errors: h, what it wraps, and so on. T is an interface
// like EOFHandler, or the type of a Handler. Any goroutine.
func FindHandler[T any](h Handler) (t T, ok bool) {
	for range maxWrapped {
		if t, ok = h.(T); ok || h == nil {
			break
		}
		h = unwrap(h)
	}
	return t, ok
}

// checkHandler says what is wrong with a handler or one that it wraps.
func checkHandler(h Handler) error {
	for range maxWrapped {
		if h == nil {
			return nil
		}
		if c, ok := h.(CheckHandler); ok {
			if err := c.Check(); err != nil {
				return err
			}
		}
		h = unwrap(h)
	}
	return fmt.Errorf("%w: Unwrap of handler %T goes on after %d handlers", ErrInvalid, h, maxWrapped)
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
