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
	// ErrInvalid says that a framing was made with a value that makes no sense.
	ErrInvalid = errors.New("framing: invalid value")
)

const (
	// DefaultMax is the maximum that 0 stands for, in bytes.
	DefaultMax = 64 << 10
	// LargestMax is the largest maximum that a framing may have, in bytes.
	LargestMax = 1 << 30
)

// A Framing finds the first message in data. It has no state, and all its methods may be called by any goroutine, at the same
// time. One that is not from this package and can be wrong has a method Check() error for [Check].
type Framing interface {
	// Next looks for the first message at the start of data, which stays the caller's. At first place is 0; after that it is what the
	// call before returned, with the n bytes that it took away and, perhaps, more appended. atEOF says that nothing more will be.
	// Any other place is the caller's mistake, and may panic.
	//
	// A message that is complete is returned, and is not nil even when it is empty; it is a slice of data. n is how many bytes
	// of data are done with: the message and what is around it. Without a message, n > 0 says that these bytes are to be skipped.
	// With n == 0, no message and no error, the message is incomplete, or, atEOF and data empty, there is none.
	//
	// An error ends the stream: ErrTooLong, ErrMalformed, io.ErrUnexpectedEOF for a message that is incomplete at the end, or
	// ErrInvalid. Nothing comes with it, except with bufio.ErrFinalToken, which is a good end; see Split.
	Next(data []byte, place int, atEOF bool) (n int, message []byte, next int, err error)

	// MaxLen is how many bytes Next needs at most: with so many in data it takes some, or returns a message or an error. So the
	// buffer for an incomplete message need never be larger.
	MaxLen() int
}

// Check reports what is wrong with f: ErrInvalid, with the value. Any goroutine.
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

// invalid is what a constructor makes of a bad value, so that the others need not look for it.
type invalid struct{ err error }

func (f invalid) Check() error { return f.err }

func (f invalid) MaxLen() int { return 1 }

func (f invalid) Next([]byte, int, bool) (n int, message []byte, next int, err error) {
	return 0, nil, 0, f.err
}

func badValue(name, format string, args ...any) Framing {
	return invalid{fmt.Errorf("%s: %w: %s", name, ErrInvalid, fmt.Sprintf(format, args...))}
}

// limited makes a framing with a maximum, if it can be one.
func limited(name string, limit int, framing func(limit int) Framing) Framing {
	switch {
	case limit == 0:
		return framing(DefaultMax)
	case limit < 0 || limit > LargestMax:
		return badValue(name, "maximum of %d bytes", limit)
	}
	return framing(limit)
}

func tooLong(name string, limit int) error {
	return fmt.Errorf("%s: %w: more than %d bytes", name, ErrTooLong, limit)
}

// incomplete is the answer as long as a message's end is missing.
func incomplete(name string, data []byte, next int, atEOF bool) (int, []byte, int, error) {
	if atEOF && len(data) > 0 {
		return 0, nil, 0, fmt.Errorf("%s: %w: %d bytes of a message", name, io.ErrUnexpectedEOF, len(data))
	}
	return 0, nil, next, nil
}

// measured cuts out a message whose length has been read from the header before it.
func measured(name string, data []byte, header int, length uint64, limit int, atEOF bool) (int, []byte, int, error) {
	if length > uint64(limit) {
		return 0, nil, 0, fmt.Errorf("%s: %w: %d bytes, at most %d", name, ErrTooLong, length, limit)
	}
	n := header + int(length)
	if len(data) < n {
		return incomplete(name, data, 0, atEOF)
	}
	return n, data[header:n:n], 0, nil
}
