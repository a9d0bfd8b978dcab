package framing

import (
	"errors"
	"fmt"
	"io"
)

// The errors of this package, to be tested with errors.Is; what is returned names the framing and the value.
var (
	// ErrTooLong says that a message is longer than the framing's maximum.
	ErrTooLong = errors.New("framing: message is too long")
	// ErrMalformed says that the stream does not follow the framing's rule.
	ErrMalformed = errors.New("framing: malformed stream")
	// ErrInvalid says that a field of a framing has an invalid value.
	ErrInvalid = errors.New("framing: invalid value")
)

const (
	// DefaultMax is the maximum that 0 stands for, in bytes.
	DefaultMax = 64 << 10
	// LargestMax is the largest maximum that a framing may have, in bytes.
	LargestMax = 1 << 30
)

// A Framing finds the first message in data. It has no state, and all its methods may be called by any goroutine, at the same
// time. A Framing from outside this package that can be invalid has a method Check() error for [Check].
type Framing interface {
	// Next looks for the first message at the start of data, which stays the caller's. cursor is 0 at first; later it is the Cursor of the
	// call before, with its Advance bytes removed from data and, perhaps, more bytes appended. atEOF says that no more bytes will be
	// appended. With any other cursor Next may panic.
	//
	// An error ends the stream: ErrTooLong, ErrMalformed, io.ErrUnexpectedEOF for a message that is incomplete at the end, or
	// ErrInvalid. The Result is the zero Result then. Any goroutine.
	Next(data []byte, cursor int, atEOF bool) (Result, error)

	// MaxLen is how many bytes Next needs at most: with so many in data it removes some, or returns a message or an error. So the
	// buffer for an incomplete message need never be larger. Any goroutine.
	MaxLen() int
}

// A Result is what Next has found.
//
// With a Message, Advance is the length of the message with what surrounds it. Without one, Advance > 0 says that these bytes are to be
// skipped. With neither, and Final false, the message is incomplete, or, at the end of the stream with data empty, there is none.
type Result struct {
	// Message is nil if no message is complete; an empty message is not nil. It is a slice of data, and valid as long as data is; see
	// Split for an exception.
	Message []byte
	// Advance is how many bytes at the start of data the caller removes before the next call.
	Advance int
	// Cursor is handed to the next call, so that it does not examine again what this one has examined.
	Cursor int
	// Final says that the stream ends here by the framing's rule: Message, if there is one, is the last, and what follows is not looked
	// at. See Split.
	Final bool
}

// Check reports what is wrong with f. Errors: ErrInvalid, with the value. Any goroutine.
func Check(f Framing) error {
	if f == nil {
		return fmt.Errorf("%w: nil Framing", ErrInvalid)
	}
	if c, ok := f.(interface{ Check() error }); ok {
		if err := c.Check(); err != nil {
			return err
		}
	}
	if n := f.MaxLen(); n < 1 {
		return fmt.Errorf("%w: MaxLen is %d bytes", ErrInvalid, n)
	}
	return nil
}

// limit is the maximum that the field Max stands for: 0 if it is invalid.
func limit(maximum int) int {
	switch {
	case maximum == 0:
		return DefaultMax
	case maximum < 0 || maximum > LargestMax:
		return 0
	}
	return maximum
}

// checkMax reports what is wrong with the field Max.
func checkMax(name string, maximum int) error {
	if limit(maximum) == 0 {
		return invalid(name, "maximum of %d bytes", maximum)
	}
	return nil
}

func invalid(name, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", name, ErrInvalid, fmt.Sprintf(format, args...))
}

func tooLong(name string, limit int) error {
	return fmt.Errorf("%s: %w: more than %d bytes", name, ErrTooLong, limit)
}

// incomplete is the result as long as a message's end is missing.
func incomplete(name string, data []byte, cursor int, atEOF bool) (Result, error) {
	if atEOF && len(data) > 0 {
		return Result{}, fmt.Errorf("%s: %w: %d bytes of a message", name, io.ErrUnexpectedEOF, len(data))
	}
	return Result{Cursor: cursor}, nil
}

// measured returns a message whose length has been read from the header before it.
func measured(name string, data []byte, header int, length uint64, limit int, atEOF bool) (Result, error) {
	if length > uint64(limit) {
		return Result{}, fmt.Errorf("%s: %w: %d bytes, at most %d", name, ErrTooLong, length, limit)
	}
	n := header + int(length)
	if len(data) < n {
		return incomplete(name, data, 0, atEOF)
	}
	return Result{Message: data[header:n:n], Advance: n}, nil
}
