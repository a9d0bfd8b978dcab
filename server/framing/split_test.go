package framing_test

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server/framing"
)

// TestBadSplitFuncs: invalid results of a SplitFunc are ErrMalformed, with the error that bufio has for them.
func TestBadSplitFuncs(t *testing.T) {
	own := errors.New("own")
	for _, c := range []struct {
		want  error
		split bufio.SplitFunc
	}{
		{bufio.ErrNegativeAdvance, func([]byte, bool) (int, []byte, error) { return -1, nil, nil }},
		{bufio.ErrAdvanceTooFar, func(data []byte, _ bool) (int, []byte, error) { return len(data) + 1, data, nil }},
		{io.ErrNoProgress, func([]byte, bool) (int, []byte, error) { return 0, []byte{}, nil }},
		{own, func(data []byte, _ bool) (int, []byte, error) { return len(data), data, own }},
	} {
		got := cut(t, framing.Split{Func: c.split}, true, false, []byte("abc"))
		testkit.WantErr(t, got.err, framing.ErrMalformed)
		testkit.WantErr(t, got.err, c.want)
		if got.taken != 0 {
			t.Errorf("took %d bytes", got.taken)
		}
	}
}

// TestTokensThatTakeNothing: as many tokens without an advance are allowed as by bufio.Scanner, at the end of the stream, too.
func TestTokensThatTakeNothing(t *testing.T) {
	for _, c := range []struct {
		tokens int
		want   error
	}{{100, nil}, {101, framing.ErrMalformed}} {
		left := c.tokens
		f := framing.Split{Func: func(data []byte, atEOF bool) (int, []byte, error) {
			if left--; left >= 0 {
				return 0, []byte("x"), nil
			}
			if left = c.tokens; len(data) > 0 {
				return 1, data[:1], nil
			}
			left = 0
			return 0, nil, nil
		}}
		got := cut(t, f, true, false, []byte("ab"))
		testkit.WantErr(t, got.err, c.want)
		want := 100
		if c.want == nil {
			want = 3*c.tokens + 2
		}
		if len(got.messages) != want {
			t.Errorf("%d messages, want %d", len(got.messages), want)
		}
	}
}

// TestFinalToken: bufio.ErrFinalToken ends the stream without an error, with a last message or without one. The bytes that follow are left.
func TestFinalToken(t *testing.T) {
	for _, c := range []struct {
		advance int
		token   []byte
		want    []string
		taken   int
	}{
		{0, nil, []string{"a"}, 2},
		{0, []byte("last"), []string{"a", "last"}, 2},
		{0, []byte{}, []string{"a", ""}, 2},
		{4, []byte("last"), []string{"a", "last"}, 6},
		{-1, nil, []string{"a"}, 2}, // bufio.Scanner ignores it
		{1000, nil, []string{"a"}, 11},
	} {
		f := framing.Split{Func: func(data []byte, atEOF bool) (int, []byte, error) {
			if i := slices.Index(data, ';'); i > 0 {
				return i + 1, data[:i], nil
			} else if i < 0 {
				return 0, nil, nil
			}
			return c.advance, c.token, bufio.ErrFinalToken
		}}
		got := cut(t, f, true, false, []byte("a;;stoprest"))
		if got.err != nil || !got.final || !slices.Equal(got.messages, c.want) || got.taken != c.taken {
			t.Errorf("%d, %q: messages %q, %d bytes, %v", c.advance, c.token, got.messages, got.taken, got.err)
		}
	}
}

// TestWhatASplitFuncSees: no data only at the end of the stream, no more than the maximum, and the end only with all bytes that are left.
func TestWhatASplitFuncSees(t *testing.T) {
	const limit = 5
	ended := false
	f := framing.Split{Func: func(data []byte, atEOF bool) (int, []byte, error) {
		if len(data) == 0 && !atEOF || len(data) > limit || cap(data) > len(data) || ended && len(data) > 0 {
			t.Errorf("%q of %d, atEOF %v, ended %v", data, cap(data), atEOF, ended)
		}
		ended = ended || atEOF
		return len(data), nil, nil
	}, Max: limit}
	for _, endsLater := range []bool{false, true} {
		ended = false
		if got := cut(t, f, false, endsLater, []byte("abcdefghijklmno"), nil); got.taken != 15 || !ended {
			t.Errorf("took %d bytes, ended %v", got.taken, ended)
		}
	}
}

// TestTokenAfterTheData: at the end of the stream a SplitFunc may return a token without data.
func TestTokenAfterTheData(t *testing.T) {
	f := framing.Split{Func: func(data []byte, atEOF bool) (int, []byte, error) {
		if atEOF {
			return 0, append([]byte(nil), "end:"+string(data)...), bufio.ErrFinalToken
		}
		return scanSemicolons(data, atEOF)
	}}
	for stream, want := range map[string][]string{"": {"end:"}, "a;": {"a", "end:"}, "a;b": {"a", "end:b"}} {
		if got := cut(t, f, true, true, []byte(stream)); !slices.Equal(got.messages, want) {
			t.Errorf("%q: %q", stream, got.messages)
		}
	}
}
