package websocket

import (
	"fmt"
	"log"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/evmq/evmq/httpd/internal/http1"
	"github.com/evmq/evmq/server"
)

// The defaults of the fields of a Config.
const (
	DefaultMaxMessage     = 1 << 20          // MaxMessage, in bytes
	DefaultMaxFragments   = 256 << 20        // MaxFragments, in bytes
	DefaultDeflateMin     = 256              // DeflateMin, in bytes
	DefaultPingInterval   = 30 * time.Second // PingInterval
	DefaultPongTimeout    = 30 * time.Second // PongTimeout
	DefaultReadTimeout    = 30 * time.Second // ReadTimeout
	DefaultMessageTimeout = 2 * time.Minute  // MessageTimeout
	DefaultWriteTimeout   = time.Minute      // WriteTimeout
	DefaultCloseTimeout   = 5 * time.Second  // CloseTimeout
)

// A Config says how WebSockets are served. The zero value of each field is its default; Message is required. A negative value means no limit
// in a limit, and no deadline in a duration, unless the field's comment says otherwise.
type Config struct {
	// Message handles a message. It runs on the loop while it is quick, and otherwise on a worker, as Placement says, so it may block. The messages of a
	// WebSocket are handled one at a time, in their order, and not before the handler of the request has returned. Message may change p, and must not
	// keep it. If it panics, the WebSocket is closed with CloseInternalError. Required.
	Message func(w Reply, t MessageType, p []byte)
	// Opened, if set, is called when the handshake is complete: by Upgrade on its goroutine, where it may block, and for Dial on the loop with a nil
	// request, where it must not block.
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
	// CheckOrigin, if set, replaces this check. It returns whether the request is accepted. It is called on the goroutine of Upgrade.
	CheckOrigin func(r *http.Request) bool

	// MaxMessage limits the length of a message from the peer, in bytes, after decompression. A longer one closes the WebSocket with CloseTooBig. 0 means
	// DefaultMaxMessage; a negative value is an error.
	MaxMessage int
	// MaxFragments limits the bytes of messages in several frames, from the first frame on, of all WebSockets of a Handler together, and likewise
	// those of decompressed messages, until Message returns. Above it, a WebSocket whose message grows is closed with CloseTryAgainLater. Other input
	// counts towards MaxBuffered of the server. 0 means DefaultMaxFragments.
	MaxFragments int64

	// MaxOutput limits the bytes that wait for the peer, as server.Server.MaxOutput does. At the limit, writes to the Conn fail with ErrFull; those to a
	// Reply have the server's limit alone. 0 means that limit, DefaultMaxOutput of package server; a larger value has no effect; a negative value is an error.
	MaxOutput int
	// CutOffSlow ends the connection when a write to the Conn, or a broadcast, fails with ErrFull, which the Err of the CloseError then matches.
	CutOffSlow bool
	// FrameRate is the number of frames that the peer may send in a second on average, and FrameBurst the number of those that it may send at once. A
	// frame above it closes the WebSocket with ClosePolicyViolation. 0 means no limit, and for FrameBurst FrameRate, at least 1; a negative value is an
	// error. The bytes in a second, in each direction, are limited by ReadLimit, WriteLimit and RateGroup of httpd.Server, and for Dial of server.Server: such a
	// WebSocket is read from, or written to, more slowly. The time for which reading waits for a limit does not count in ReadTimeout.
	FrameRate  float64
	FrameBurst int

	// Deflate accepts permessage-deflate, without context takeover, from peers that offer it, so that it takes memory only while a message is compressed
	// or decompressed. DeflateLevel is the level of package flate, from 1 to 9; 0 means 1. Messages shorter than DeflateMin bytes are not compressed; 0 means
	// DefaultDeflateMin, and a negative value is an error.
	Deflate      bool
	DeflateLevel int
	DeflateMin   int

	// PingInterval is the time without input after which a ping is sent. 0 means DefaultPingInterval; a negative value means no pings. The checks are late by
	// a quarter of the shortest of this and the next two at most.
	PingInterval time.Duration
	// PongTimeout limits the time after that ping in which nothing arrives. 0 means DefaultPongTimeout. While Message runs, while output waits for the
	// peer, and while Conn.NetConn holds as much as it may, neither counts. MessageTimeout does not count while the server does not read: while
	// Message runs, while the output that waits is above HighWater of the server, and while Conn.NetConn holds as much as it may.
	PongTimeout time.Duration
	// IdleTimeout limits the time for which no message is sent or received. Then the WebSocket is closed with CloseGoingAway. 0 means none.
	IdleTimeout time.Duration
	// ReadTimeout limits the time for which a frame that has begun may be incomplete. 0 means DefaultReadTimeout.
	ReadTimeout time.Duration
	// MessageTimeout limits the time from the first frame of a message to its last. Then the WebSocket is closed with ClosePolicyViolation, although the peer
	// answers pings. The check is late by a quarter, or by PongTimeout, at most. 0 means DefaultMessageTimeout.
	MessageTimeout time.Duration
	// WriteTimeout limits the time for which the peer takes none of the output that waits. 0 means DefaultWriteTimeout.
	WriteTimeout time.Duration
	// CloseTimeout limits the time in which the peer answers a close frame, and then in which it closes the connection. It begins again while the peer takes
	// output. 0 means DefaultCloseTimeout; a negative value is an error.
	CloseTimeout time.Duration

	// ErrorLog logs panics of Message, Closed and GroupConfig.OnLeave. Nil means the log package's standard logger.
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
	c.MaxMessage = min(c.MaxMessage, math.MaxInt/4) // so that sums with it do not overflow
	setDefault(&c.MaxFragments, DefaultMaxFragments)
	setDefault(&c.FrameBurst, max(1, int(c.FrameRate)))
	setDefault(&c.DeflateLevel, 1)
	setDefault(&c.DeflateMin, DefaultDeflateMin)
	setDefault(&c.PingInterval, DefaultPingInterval)
	setDefault(&c.PongTimeout, DefaultPongTimeout)
	setDefault(&c.ReadTimeout, DefaultReadTimeout)
	setDefault(&c.MessageTimeout, DefaultMessageTimeout)
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
	case c.MaxOutput < 0:
		return fmt.Errorf("%w: MaxOutput is %d", ErrInvalid, c.MaxOutput)
	case !(c.FrameRate >= 0) || c.FrameRate > 1e6: // also NaN
		return fmt.Errorf("%w: FrameRate is %v", ErrInvalid, c.FrameRate)
	case c.FrameBurst < 0 || c.FrameBurst > 1e6:
		return fmt.Errorf("%w: FrameBurst is %d", ErrInvalid, c.FrameBurst)
	case c.DeflateLevel < 0 || c.DeflateLevel > 9:
		return fmt.Errorf("%w: DeflateLevel is %d", ErrInvalid, c.DeflateLevel)
	case c.DeflateMin < 0:
		return fmt.Errorf("%w: DeflateMin is %d", ErrInvalid, c.DeflateMin)
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
