package sse

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrInvalid reports a field of an Event that the format cannot express, or a wrong configuration. The text names the field.
var ErrInvalid = errors.New("sse: invalid event or configuration")

// MaxID is the limit of Event.ID, in bytes. Servers and proxies refuse requests with longer fields.
const MaxID = 4 << 10

// An Event is a message to the client.
type Event struct {
	// ID becomes the client's position in the stream, which it sends as Last-Event-ID when it connects again. So it is limited to what a field
	// of a head carries unchanged: at most MaxID bytes, no control characters but tabs, and neither a space nor a tab at its beginning or end.
	// "" leaves the position as it is, except in a Group, which then chooses an ID.
	ID string
	// Name is the type of the event, for addEventListener. "" means "message".
	Name string
	// Data is the text of the event. It may have several lines.
	Data string
	// Retry, if not 0, sets the time after which the client connects again. It is rounded up to milliseconds.
	Retry time.Duration
}

// Append appends the event to b in the format of the stream, and returns the result. Errors: ErrInvalid; then the result is b. Any goroutine.
func (e *Event) Append(b []byte) ([]byte, error) {
	if err := e.check(); err != nil {
		return b, err
	}
	if e.Retry > 0 {
		b = appendRetry(b, e.Retry)
	}
	if e.Name != "" {
		b = append(append(append(b, "event: "...), e.Name...), '\n')
	}
	if e.ID != "" {
		b = append(append(append(b, "id: "...), e.ID...), '\n')
	}
	return append(appendLines(b, "data: ", e.Data), '\n'), nil
}

// check returns an error if a field cannot be sent.
func (e *Event) check() error {
	switch {
	case len(e.ID) > MaxID:
		return fmt.Errorf("%w: ID has %d bytes, the limit is %d", ErrInvalid, len(e.ID), MaxID)
	case strings.ContainsFunc(e.ID, isControl):
		return fmt.Errorf("%w: ID %q has a control character", ErrInvalid, e.ID)
	case strings.Trim(e.ID, " \t") != e.ID:
		return fmt.Errorf("%w: ID %q begins or ends with a space", ErrInvalid, e.ID)
	case strings.ContainsAny(e.Name, "\r\n"):
		return fmt.Errorf("%w: Name %q has the end of a line", ErrInvalid, e.Name)
	case e.Retry < 0:
		return fmt.Errorf("%w: Retry is %v", ErrInvalid, e.Retry)
	case !utf8.ValidString(e.ID):
		return fmt.Errorf("%w: ID %q is not UTF-8", ErrInvalid, e.ID)
	case !utf8.ValidString(e.Name):
		return fmt.Errorf("%w: Name %q is not UTF-8", ErrInvalid, e.Name)
	case !utf8.ValidString(e.Data):
		return fmt.Errorf("%w: Data of %d bytes is not UTF-8", ErrInvalid, len(e.Data))
	}
	return nil
}

// isControl reports whether r is a control character that a field of a head cannot have.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// appendRetry appends the field retry.
func appendRetry(b []byte, d time.Duration) []byte {
	b = strconv.AppendInt(append(b, "retry: "...), int64((d+time.Millisecond-1)/time.Millisecond), 10)
	return append(b, '\n')
}

// appendLines appends each line of text with the prefix.
func appendLines(b []byte, prefix, text string) []byte {
	for {
		i := strings.IndexAny(text, "\r\n")
		line := text
		if i >= 0 {
			line = text[:i]
		}
		b = append(append(append(b, prefix...), line...), '\n')
		if i < 0 {
			return b
		}
		if text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			i++
		}
		text = text[i+1:]
	}
}

// appendComment appends a comment, which clients ignore.
func appendComment(b []byte, text string) []byte { return append(appendLines(b, ": ", text), '\n') }
