package websocket

import (
	"fmt"
	"log"
	"net/http"
	"slices"
	"time"

	"github.com/evmq/evmq/httpd/internal/http1"
	"github.com/evmq/evmq/server"
)

// The defaults of the fields of a Config.
const (
	DefaultMaxMessage   = 1 << 20          // MaxMessage, in bytes
	DefaultMaxFragments = 256 << 20        // MaxFragments, in bytes
	DefaultReadTimeout  = 30 * time.Second // ReadTimeout
	DefaultWriteTimeout = time.Minute      // WriteTimeout
	DefaultCloseTimeout = 5 * time.Second  // CloseTimeout
)

// A Config says how WebSockets are served. The zero value of each field is its default; Message is required. A negative value means no limit
// in a limit, and no deadline in a duration, unless the field's comment says otherwise.
type Config struct {
	// Message handles a message. It runs on the loop while it is quick, and otherwise on a worker, as Placement says, so it may block. The messages of a
	// WebSocket are handled one at a time, in their order. p is valid until Message returns, and may be changed. It is called when the
	// handler of the request has returned. Required.
	Message func(w Reply, t MessageType, p []byte)
	// Opened, if set, is called by Upgrade, on its goroutine, when the handshake is complete, and with a nil request by Dial, on the loop.
	Opened func(c *Conn, r *http.Request)
	// Closed, if set, is called once when the WebSocket has ended, after all calls of Message, on the loop. It must not block.
	Closed func(c *Conn, e *CloseError)
	// Placement says where Message runs. 0 means server.Adaptive.
	Placement server.Placement

	// Subprotocols are the names of the application's protocols that are accepted, the preferred one first. A client that offers none of them is
	// accepted without one; see Conn.Subprotocol.
	Subprotocols []string
	// AllowedOrigins are the origins of pages, such as "https://example.com", whose scripts may connect, besides those whose host is the Host of the
	// request. "*" allows all. Programs that are no browsers send no Origin, and are not refused.
	AllowedOrigins []string
	// CheckOrigin, if set, replaces the check of the field Origin. It returns whether the request is accepted.
	CheckOrigin func(r *http.Request) bool

	// MaxMessage limits the length of a message from the peer, in bytes, after decompression. A longer one closes the WebSocket with CloseTooBig. 0 means
	// DefaultMaxMessage; a negative value is an error.
	MaxMessage int
	// MaxFragments limits the bytes of messages in several frames that are not complete, of all WebSockets of a Handler together. Above it, a
	// WebSocket whose message grows is closed with CloseTryAgainLater. Other input counts towards MaxBuffered of the server. 0 means
	// DefaultMaxFragments.
	MaxFragments int64

	// ReadTimeout limits the time for which a frame that has begun may be incomplete. 0 means DefaultReadTimeout.
	ReadTimeout time.Duration
	// WriteTimeout limits the time for which the peer takes none of the output that waits. 0 means DefaultWriteTimeout.
	WriteTimeout time.Duration
	// CloseTimeout limits the time in which the peer answers a close frame, and then in which it closes the connection. 0 means
	// DefaultCloseTimeout; a negative value is an error.
	CloseTimeout time.Duration

	// ErrorLog logs panics of Message and Closed. Nil means the log package's standard logger.
	ErrorLog *log.Logger
}

// resolve returns a private copy of cfg with the defaults.
func resolve(cfg *Config) (*Config, error) {
	if cfg == nil {
		return nil, fmt.Errorf("%w: Config is nil", ErrInvalid)
	}
	c := *cfg
	c.Subprotocols, c.AllowedOrigins = slices.Clone(c.Subprotocols), slices.Clone(c.AllowedOrigins)
	if err := c.check(); err != nil {
		return nil, err
	}
	setDefault(&c.MaxMessage, DefaultMaxMessage)
	setDefault(&c.MaxFragments, DefaultMaxFragments)
	setDefault(&c.ReadTimeout, DefaultReadTimeout)
	setDefault(&c.WriteTimeout, DefaultWriteTimeout)
	setDefault(&c.CloseTimeout, DefaultCloseTimeout)
	return &c, nil
}

// setDefault sets a field that is 0.
func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// check returns an error if a field is invalid.
func (c *Config) check() error {
	switch {
	case c.Message == nil:
		return fmt.Errorf("%w: Message is nil", ErrInvalid)
	case c.Placement > server.OnWorkers:
		return fmt.Errorf("%w: Placement is %d", ErrInvalid, c.Placement)
	case c.MaxMessage < 0:
		return fmt.Errorf("%w: MaxMessage is %d", ErrInvalid, c.MaxMessage)
	case c.CloseTimeout < 0:
		return fmt.Errorf("%w: CloseTimeout is %v", ErrInvalid, c.CloseTimeout)
	}
	for _, p := range c.Subprotocols {
		if !http1.IsToken(p) {
			return fmt.Errorf("%w: Subprotocols has %q", ErrInvalid, p)
		}
	}
	return nil
}

// logf logs a line to ErrorLog.
func (c *Config) logf(format string, args ...any) {
	if c.ErrorLog != nil {
		c.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}
