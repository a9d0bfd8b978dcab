package http1

import (
	"bytes"
	"net/http"

	"github.com/evmq/evmq/server/framing"
)

// A Framing finds the heads of requests: a request line and header lines, up to an empty line. An empty line before a request belongs to its
// head. It is a framing.Framing; the body of a request is not part of the message.
type Framing struct {
	// MaxHead is the largest number of bytes of a head.
	MaxHead int
}

// MaxLen returns the number of bytes that Next needs.
func (f Framing) MaxLen() int { return f.MaxHead + 1 }

// Next implements framing.Framing. Errors: a *StatusError.
func (f Framing) Next(data []byte, cursor int, atEOF bool) (framing.Result, error) {
	start := 0
	if bytes.HasPrefix(data, crlf) {
		start = len(crlf)
	}
	// The bytes before the line at pos are whole lines.
	for pos := max(cursor, start); ; {
		n := bytes.IndexByte(data[pos:], '\n')
		if n < 0 {
			if len(data) > f.MaxHead {
				return framing.Result{}, &StatusError{Status: http.StatusRequestHeaderFieldsTooLarge}
			}
			if atEOF && len(data) > start {
				return framing.Result{}, badRequest("incomplete request")
			}
			return framing.Result{Cursor: pos}, nil
		}
		if n == 0 || data[pos+n-1] != '\r' {
			return framing.Result{}, badRequest("line feed without carriage return")
		}
		pos += n + 1
		if pos > f.MaxHead {
			return framing.Result{}, &StatusError{Status: http.StatusRequestHeaderFieldsTooLarge}
		}
		if n == 1 {
			return framing.Result{Message: data[:pos:pos], Advance: pos}, nil
		}
	}
}

var crlf = []byte("\r\n")
