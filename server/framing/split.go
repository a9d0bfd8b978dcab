package framing

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Split finds messages with a bufio.SplitFunc: its tokens are the messages. The function is called as bufio.Scanner calls it, with these
// differences:
//
//   - All connections call the same function, so it must not keep state between calls. A function that does needs a Framing for each connection.
//   - It is given Max bytes at most, for the token and its delimiters. If it advances over none of so many although there are more, that is
//     ErrTooLong.
//   - If it advances over none at the end of the stream and bytes are left, that is io.ErrUnexpectedEOF. A function that ignores such bytes
//     advances over them.
//   - More than 100 tokens in a row without an advance, at which bufio.Scanner panics, are ErrMalformed.
//
// An advance that is negative or too large is ErrMalformed and bufio.ErrNegativeAdvance or bufio.ErrAdvanceTooFar, and an error of
// the function is that error and ErrMalformed. bufio.ErrFinalToken is no error: Final of the Result is true, with the token, if there is
// one, and the advance, as far as there are data. The bytes after it do not belong to this framing.
//
// The function has no cursor: it is called again whenever more bytes have arrived, and examines an incomplete message from its beginning
// each time. A message is the token of the function, which may be no part of the data, as with bufio.ScanRunes. Then it must not be
// changed, and the function determines how long it is valid.
type Split struct {
	// Func finds the messages. Required.
	Func bufio.SplitFunc
	// Max is the largest number of bytes that the function is given. 0 means DefaultMax; LargestMax is the most. A negative value is ErrInvalid.
	Max int
}

// Check reports invalid fields. Errors: ErrInvalid. Any goroutine.
func (f Split) Check() error {
	if f.Func == nil {
		return invalid("split", "Func is nil")
	}
	return checkMax("split", f.Max)
}

const maxEmptyTokens = 100 // in a row, without an advance

// MaxLen returns Max plus one, because a token that ends with the stream may have Max bytes. Any goroutine.
func (f Split) MaxLen() int { return limit(f.Max) + 1 }

// Next implements Framing. The cursor counts the tokens without an advance. Any goroutine.
func (f Split) Next(data []byte, cursor int, atEOF bool) (Result, error) {
	most := limit(f.Max)
	if most == 0 || f.Func == nil {
		return Result{}, f.Check()
	}
	if len(data) == 0 && !atEOF {
		return Result{}, nil // as bufio.Scanner, which does not call the function then
	}
	given := min(len(data), most)
	all := given == len(data)
	n, token, err := f.Func(data[:given:given], atEOF && all)
	token = slices.Clip(token)
	switch {
	case err == nil && 0 < n && n <= given: // most of the time
		return Result{Message: token, Advance: n}, nil
	case errors.Is(err, bufio.ErrFinalToken):
		return Result{Message: token, Advance: min(max(0, n), given), Final: true}, nil
	case err != nil:
		return Result{}, fmt.Errorf("split: %w: %w", ErrMalformed, err)
	case n < 0:
		return Result{}, fmt.Errorf("split: %w: %w: %d", ErrMalformed, bufio.ErrNegativeAdvance, n)
	case n > given:
		return Result{}, fmt.Errorf("split: %w: %w: %d of %d bytes", ErrMalformed, bufio.ErrAdvanceTooFar, n, given)
	case token != nil && cursor >= maxEmptyTokens:
		return Result{}, fmt.Errorf("split: %w: more than %d tokens: %w", ErrMalformed, maxEmptyTokens, io.ErrNoProgress)
	case token != nil:
		return Result{Message: token, Cursor: cursor + 1}, nil
	case !all:
		return Result{}, tooLong("split", most)
	}
	return incomplete("split", data, 0, atEOF)
}
