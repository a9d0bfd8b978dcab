package framing

import (
	"errors"
	"fmt"
	"io"
	"reflect"
)

// The errors of this package. Test for them with errors.Is: returned errors add the framing and the value.
var (
	// ErrTooLong reports that a message is longer than the framing's maximum.
	ErrTooLong = errors.New("framing: message is too long")
	// ErrMalformed reports that the stream does not follow the framing's rule.
	ErrMalformed = errors.New("framing: malformed stream")
	// ErrInvalid reports that a field of a framing has an invalid value.
	ErrInvalid = errors.New("framing: invalid value")
)

const (
	// DefaultMax is the default of Max, in bytes.
	DefaultMax = 64 << 10
	// LargestMax is the largest value of Max, in bytes.
	LargestMax = 1 << 30
)

// A Framing finds the first message in data. It has no state, and all its methods may be called by any goroutine, at the same
// time. A Framing from outside this package that can be invalid has a method Check() error for [Check].
type Framing interface {
	// Next looks for the first message at the start of data, which is neither changed nor stored. cursor is 0 at first; later it is the Cursor of the
	// call before, with its Advance bytes removed from data and, perhaps, more bytes appended. atEOF says that no more bytes will be
	// appended. With any other cursor Next may panic.
	//
	// An error ends the stream: ErrTooLong, ErrMalformed, io.ErrUnexpectedEOF for a message that is incomplete at the end, or
	// ErrInvalid. The Result is the zero Result then. Any goroutine.
	Next(data []byte, cursor int, atEOF bool) (Result, error)

	// MaxLen returns the largest number of bytes that Next needs: given so many, it removes some, or returns a message or an error. So the
	// buffer for an incomplete message never needs to be larger. Any goroutine.
	MaxLen() int
}

// A Result is the result of Next.
//
// With a Message, Advance is the length of the message including its delimiter, length or end. Without a message, these bytes are to be
// skipped if Advance > 0. With neither, and Final false, the message is incomplete, or, at the end of the stream with data empty, there is
// none.
type Result struct {
	// Message is nil if no message is complete; an empty message is not nil. It is a slice of data, and valid as long as data is; see
	// Split for an exception.
	Message []byte
	// Advance is the number of bytes at the start of data that the caller removes before the next call.
	Advance int
	// Cursor is the cursor of the next call, which does not examine the bytes before it again.
	Cursor int
	// Final reports that the stream ends here by the framing's rule: Message, if there is one, is the last, and the bytes that follow are
	// not examined. See Split.
	Final bool
}

// Check returns an error if f has an invalid value. Errors: ErrInvalid, with the field and its value. Any goroutine.
func Check(f Framing) error {
	if f == nil {
		return fmt.Errorf("%w: nil Framing", ErrInvalid)
	}
	if v := reflect.ValueOf(f); v.Kind() == reflect.Pointer && v.IsNil() && v.Type().Elem().Implements(reflect.TypeFor[Framing]()) {
		return fmt.Errorf("%w: nil %T", ErrInvalid, f) // a method of the value would panic
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

// limit returns the maximum for a value of the field Max: 0 if it is invalid.
func limit(maximum int) int {
	switch {
	case maximum == 0:
		return DefaultMax
	case maximum < 0 || maximum > LargestMax:
		return 0
	}
	return maximum
}

// checkMax returns an error if the value of the field Max is invalid.
func checkMax(name string, maximum int) error {
	if limit(maximum) == 0 {
		return invalid(name, "Max is %d", maximum)
	}
	return nil
}

func invalid(name, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", name, ErrInvalid, fmt.Sprintf(format, args...))
}

func tooLong(name string, limit int) error {
	return fmt.Errorf("%s: %w: more than %d bytes", name, ErrTooLong, limit)
}

// incomplete returns the result while the end of a message is missing.
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
