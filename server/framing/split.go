package framing

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Split lets a bufio.SplitFunc find the messages, its tokens. It is called as bufio.Scanner calls it, with these differences:
//
//   - All connections call the same function, so it may not keep anything between calls. One that does needs a Framing for each.
//   - It is shown limit bytes at most, the token and what is around it; 0 means DefaultMax. If it takes nothing of so many although
//     there are more, that is ErrTooLong.
//   - If it takes nothing at the end of the stream and something is left, that is io.ErrUnexpectedEOF. It says that the
//     rest is nothing by skipping it.
//   - What bufio.Scanner panics at, more than 100 tokens in a row that take nothing, is ErrMalformed.
//
// An advance that is negative or too large is ErrMalformed and bufio.ErrNegativeAdvance or bufio.ErrAdvanceTooFar, and an error of
// the function's is that and ErrMalformed. bufio.ErrFinalToken is returned as it is, with the token, if there is one, and the
// advance, as far as there are data: it was the last message, and what comes after it is not this framing's.
//
// The function knows no place: it is called again whenever more has come, and looks through an incomplete message from its beginning
// each time. A message is what the function returns, which may be no part of the data, as with bufio.ScanRunes: then
// do not change it. Any goroutine.
func Split(split bufio.SplitFunc, limit int) Framing {
	if split == nil {
		return badValue("split", "nil SplitFunc")
	}
	return limited("split", limit, func(limit int) Framing { return &splitter{split, limit} })
}

type splitter struct {
	split bufio.SplitFunc
	limit int
}

const maxIdle = 100 // tokens in a row that take nothing

// MaxLen is one more than the function is shown, because a token that ends with the stream may have them all.
func (f *splitter) MaxLen() int { return f.limit + 1 }

// Next uses place to count the tokens that took nothing.
func (f *splitter) Next(data []byte, place int, atEOF bool) (n int, message []byte, next int, err error) {
	if len(data) == 0 && !atEOF {
		return 0, nil, 0, nil // a SplitFunc does not expect that
	}
	shown := min(len(data), f.limit)
	all := shown == len(data)
	n, message, err = f.split(data[:shown:shown], atEOF && all)
	message = slices.Clip(message)
	switch {
	case errors.Is(err, bufio.ErrFinalToken):
		return min(max(0, n), shown), message, 0, err
	case err != nil:
		return 0, nil, 0, fmt.Errorf("split: %w: %w", ErrMalformed, err)
	case n < 0:
		return 0, nil, 0, fmt.Errorf("split: %w: %w: %d", ErrMalformed, bufio.ErrNegativeAdvance, n)
	case n > shown:
		return 0, nil, 0, fmt.Errorf("split: %w: %w: %d of %d bytes", ErrMalformed, bufio.ErrAdvanceTooFar, n, shown)
	case n > 0:
		return n, message, 0, nil
	case message != nil && place >= maxIdle:
		return 0, nil, 0, fmt.Errorf("split: %w: more than %d tokens: %w", ErrMalformed, maxIdle, io.ErrNoProgress)
	case message != nil:
		return 0, message, place + 1, nil
	case !all:
		return 0, nil, 0, tooLong("split", f.limit)
	}
	return incomplete("split", data, 0, atEOF)
}
