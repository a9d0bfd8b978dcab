package server

// A Handler is what a server does with its connections. All methods run on the connection's loop, one at a time, and must
// not block: all connections of the loop would wait. What blocks goes to the workers; see Dispatch.
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
	// after CloseAfterFlush and all is flushed, io.EOF when the peer has closed and all is flushed, ErrServerClosed after a Shutdown
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
	LowWater(c *Conn)  // and has fallen to LowWater or less again; also some time after each write that MaxOutput refused
}

// HandlerFunc is a Handler that has only Data.
type HandlerFunc func(c *Conn, p []byte) (n int, err error)

// Open does nothing. Loop only.
func (f HandlerFunc) Open(*Conn) {}

// Data calls f. Loop only.
func (f HandlerFunc) Data(c *Conn, p []byte) (int, error) { return f(c, p) }

// Close does nothing. Loop only.
func (f HandlerFunc) Close(*Conn, error) {}
