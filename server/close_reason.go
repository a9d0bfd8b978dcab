package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"golang.org/x/sys/unix"
)

// A CloseReason is the kind of the error that Handler.Close is called with. Stats counts the ended connections of each kind.
type CloseReason uint8

// The kinds, each with its error.
const (
	EndedInOrder      CloseReason = iota // nil, after Conn.Close
	EndedByPeer                          // io.EOF
	EndedByShutdown                      // ErrServerClosed
	EndedByAbort                         // ErrAborted
	EndedByDetach                        // ErrDetached
	EndedByReset                         // the system's ECONNRESET or EPIPE
	EndedIdle                            // ErrIdle
	EndedFirstRequest                    // ErrFirstRequest
	EndedReadTimeout                     // ErrReadTimeout
	EndedWriteTimeout                    // ErrWriteTimeout
	EndedCloseTimeout                    // ErrCloseTimeout
	EndedReplyTimeout                    // ErrReplyTimeout
	EndedQueueTimeout                    // ErrQueueTimeout
	EndedDialTimeout                     // ErrDialTimeout
	EndedTooLong                         // ErrTooLong
	EndedOverload                        // ErrOverload
	EndedHandshake                       // ErrHandshake
	EndedProxyHeader                     // ErrProxyHeader
	EndedHandler                         // ErrHandler
	EndedPanic                           // ErrPanic
	EndedByLoop                          // ErrLoopClosed
	EndedOther                           // any other error: of the system, a framing or a handler
	numCloseReasons
)

// closeReasons has the names and errors of the kinds. See ReasonOf for errors that match several.
var closeReasons = [numCloseReasons]struct {
	name string
	err  error
}{
	EndedInOrder:      {"in order", nil},
	EndedByPeer:       {"by the peer", io.EOF},
	EndedByShutdown:   {"by shutdown", ErrServerClosed},
	EndedByAbort:      {"by abort", ErrAborted},
	EndedByDetach:     {"by detach", ErrDetached},
	EndedByReset:      {"by a reset", unix.ECONNRESET},
	EndedIdle:         {"idle", ErrIdle},
	EndedFirstRequest: {"first request timeout", ErrFirstRequest},
	EndedReadTimeout:  {"read timeout", ErrReadTimeout},
	EndedWriteTimeout: {"write timeout", ErrWriteTimeout},
	EndedCloseTimeout: {"close timeout", ErrCloseTimeout},
	EndedReplyTimeout: {"reply timeout", ErrReplyTimeout},
	EndedQueueTimeout: {"queue timeout", ErrQueueTimeout},
	EndedDialTimeout:  {"dial timeout", ErrDialTimeout},
	EndedTooLong:      {"input too long", ErrTooLong},
	EndedOverload:     {"overload", ErrOverload},
	EndedHandshake:    {"TLS handshake", ErrHandshake},
	EndedProxyHeader:  {"PROXY header", ErrProxyHeader},
	EndedHandler:      {"handler contract", ErrHandler},
	EndedPanic:        {"panic", ErrPanic},
	EndedByLoop:       {"loop closed", ErrLoopClosed},
	EndedOther:        {"other", nil},
}

// String returns the name of the kind. Any goroutine.
func (r CloseReason) String() string {
	if r >= numCloseReasons {
		return "unknown"
	}
	return closeReasons[r].name
}

// Endings has the number of connections that have ended for each CloseReason, which is the index.
type Endings [numCloseReasons]uint64

// String lists the counts that are not 0 with their reasons, as in "3 in order, 1 idle". It returns "none" if all are 0. Any goroutine.
func (e Endings) String() string {
	var b strings.Builder
	for kind, n := range e {
		if n == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d %v", n, CloseReason(kind))
	}
	return cmp.Or(b.String(), "none")
}

// ReasonOf returns the kind of an error that Handler.Close or OnReject is called with. Any goroutine.
func ReasonOf(err error) CloseReason {
	if err == nil {
		return EndedInOrder
	}
	for kind := EndedIdle; kind < EndedOther; kind++ { // first, since their errors may wrap those of the other kinds
		if errors.Is(err, closeReasons[kind].err) {
			return kind
		}
	}
	for kind := EndedByPeer; kind < EndedIdle; kind++ {
		if errors.Is(err, closeReasons[kind].err) {
			return kind
		}
	}
	if errors.Is(err, unix.EPIPE) {
		return EndedByReset
	}
	return EndedOther
}

// isNormal reports whether the kind is an ordinary end, not a failure.
func (r CloseReason) isNormal() bool { return r <= EndedByShutdown || r == EndedByDetach }

// countEnd counts a connection that has ended, and logs an end that is not normal at level Debug. An end because of ErrHandler was logged
// before.
func (c *loopConn) countEnd(reason error) {
	s := c.loop.srv
	kind := ReasonOf(reason)
	s.totals.ended[kind].Add(1)
	if kind.isNormal() || kind == EndedHandler || !s.cfg.Logger.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	s.cfg.Logger.Debug("server: connection closed", "conn", ConnID{c.gen(), int32(c.ev.FD())}.String(), "peer", fmt.Sprint(c.RemoteAddr()),
		"reason", kind.String(), "err", reason)
}

// orClosed returns err, or ErrClosed if err is nil.
func orClosed(err error) error {
	if err == nil {
		return ErrClosed
	}
	return err
}
