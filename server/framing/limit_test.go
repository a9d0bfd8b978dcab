package framing_test

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server/framing"
)

// TestMaximumIsExact: a message of exactly the maximum is valid, one byte more is too long.
func TestMaximumIsExact(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 127, 128, 200, 70000} {
		for name, c := range map[string]struct {
			framing framing.Framing
			write   func(message []byte) []byte
		}{
			"\\n":       {framing.Lines{Max: limit}, func(m []byte) []byte { return append(m, '\n') }},
			"\\r\\n":    {framing.Lines{Max: limit}, func(m []byte) []byte { return append(m, "\r\n"...) }},
			"delimiter": {framing.Delimiter{Delim: []byte("<>"), Max: limit}, func(m []byte) []byte { return append(m, "<>"...) }},
			"prefix":    {framing.LengthPrefix{Size: 4, Order: little, Max: limit}, func(m []byte) []byte { return prefixed(t, m, 4) }},
			"varint":    {framing.Varint{Max: limit}, func(m []byte) []byte { return framing.AppendVarint(nil, m) }},
			"dot":       {framing.DotTerminated{Max: limit + 2}, func(m []byte) []byte { return framing.AppendDotTerminated(nil, m) }},
			"split":     {framing.Split{Func: bufio.ScanLines, Max: limit + 1}, func(m []byte) []byte { return append(m, '\n') }},
			"split end": {framing.Split{Func: bufio.ScanLines, Max: limit}, func(m []byte) []byte { return m }},
		} {
			for over := range 2 {
				m := bytes.Repeat([]byte("a"), limit+over)
				got := cut(t, c.framing, false, true, c.write(bytes.Clone(m)))
				if over > 0 {
					testkit.WantErr(t, got.err, framing.ErrTooLong)
				} else if got.err != nil || len(got.messages) != 1 || strings.TrimSuffix(got.messages[0], "\r\n") != string(m) {
					t.Errorf("%s: %d messages, %v", name, len(got.messages), got.err)
				}
			}
		}
	}
}

func prefixed(t *testing.T, m []byte, size int) []byte {
	data, err := framing.AppendLengthPrefix(nil, m, size, little)
	if err != nil {
		t.Error(err)
	}
	return data
}

// TestTooLongIsSaidAtOnce: without a length, ErrTooLong is returned with the first byte after which no message is possible, and not before:
// for all short streams, from the cursor of one byte less and from the beginning. The longest message needs MaxLen bytes.
func TestTooLongIsSaidAtOnce(t *testing.T) {
	delimiter := func(delim string) func(int) framing.Framing {
		return func(limit int) framing.Framing { return framing.Delimiter{Delim: []byte(delim), Max: limit} }
	}
	lines := func(limit int) framing.Framing { return framing.Lines{Max: limit} }
	dot := func(limit int) framing.Framing { return framing.DotTerminated{Max: limit} }
	for _, c := range []struct {
		name, alphabet string
		framing        func(limit int) framing.Framing
		limit          int
	}{
		{"lines", "a\r\n", lines, 3},
		{"delimiter a", "ab", delimiter("a"), 4},
		{"delimiter aa", "ab", delimiter("aa"), 4},
		{"delimiter aab", "abc", delimiter("aab"), 3},
		{"delimiter abab", "ab", delimiter("abab"), 4},
		{"delimiter longer than the maximum", "ab", delimiter("aabaa"), 1},
		{"dot 2", "a\r\n.", dot, 2},
		{"dot 3", "a\r\n.", dot, 3},
		{"dot 4", "a\r\n.", dot, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, roomy := c.framing(c.limit), c.framing(1000)
			longest := 0
			// hopeful reports whether data are a message, or can become one, that is not too long, and checks that f reports it.
			var hopeful func(data []byte, cursor int) bool
			hopeful = func(data []byte, cursor int) bool {
				r, err := f.Next(data, cursor, false)
				n, message, next := r.Advance, r.Message, r.Cursor
				if whole, e := f.Next(data, 0, false); whole.Advance != n || text(e) != text(err) {
					t.Fatalf("%q: %d, %v from its cursor, %d, %v from the beginning", data, n, err, whole.Advance, e)
				}
				answer, _ := roomy.Next(data, 0, false)
				complete := answer.Message
				hope := complete != nil && len(complete) <= c.limit
				if complete == nil && len(data) < f.MaxLen() {
					for _, b := range []byte(c.alphabet) {
						hope = hopeful(append(bytes.Clone(data), b), next) || hope
					}
				}
				if hope != (err == nil) || hope && string(message) != string(complete) {
					t.Errorf("%q: message %q, %v; can be a message: %v", data, message, err, hope)
				}
				if hope {
					longest = max(longest, n)
				}
				return hope
			}
			hopeful(nil, 0)
			if longest != f.MaxLen() {
				t.Errorf("the longest message took %d bytes, MaxLen is %d", longest, f.MaxLen())
			}
		})
	}
}

// TestLengthIsJudgedAtOnce: a length that is too large is refused when it is complete, before a byte of the message.
func TestLengthIsJudgedAtOnce(t *testing.T) {
	for header, f := range map[string]framing.Framing{
		"\x04":                             framing.LengthPrefix{Size: 1, Max: 3},
		"\x00\x04":                         framing.LengthPrefix{Size: 2, Order: big, Max: 3},
		"\x04\x00\x00\x00":                 framing.LengthPrefix{Size: 4, Order: little, Max: 3},
		"\x80\x00\x00\x00\x00\x00\x00\x00": framing.LengthPrefix{Size: 8, Order: big, Max: 3},
		"\x84\x01":                         framing.Varint{Max: 131},
	} {
		if _, err := f.Next([]byte(header[:len(header)-1]), 0, false); err != nil {
			t.Errorf("%q: %v", header, err)
		}
		_, err := f.Next([]byte(header), 0, false)
		testkit.WantErr(t, err, framing.ErrTooLong)
	}
}

// TestMaxLen: it is no larger than needed, 0 means DefaultMax, and a maximum that the length cannot express has no effect.
func TestMaxLen(t *testing.T) {
	const k64 = framing.DefaultMax
	for _, c := range []struct {
		framing framing.Framing
		want    int
	}{
		{framing.Lines{Max: 10}, 12},
		{framing.Lines{}, k64 + 2},
		{framing.Delimiter{Delim: []byte("abc"), Max: 10}, 13},
		{framing.Delimiter{Delim: []byte("abc")}, k64 + 3},
		{framing.Fixed{Size: 10}, 10},
		{framing.LengthPrefix{Size: 1}, 256},
		{framing.LengthPrefix{Size: 2, Order: big, Max: 10}, 12},
		{framing.LengthPrefix{Size: 2, Order: big}, k64 + 1},
		{framing.LengthPrefix{Size: 4, Order: big}, k64 + 4},
		{framing.LengthPrefix{Size: 8, Order: big, Max: framing.LargestMax}, framing.LargestMax + 8},
		{framing.Varint{Max: 3}, 10},
		{framing.Varint{Max: 127}, 128},
		{framing.Varint{Max: 128}, 130},
		{framing.DotTerminated{Max: 10}, 13},
		{framing.Split{Func: bufio.ScanWords, Max: 10}, 11},
	} {
		if got := c.framing.MaxLen(); got != c.want {
			t.Errorf("%T: MaxLen %d, want %d", c.framing, got, c.want)
		}
	}
}

// TestErrorsName: an error names the framing and the value.
func TestErrorsName(t *testing.T) {
	for _, c := range []struct {
		framing framing.Framing
		stream  string
		want    []string
	}{
		{framing.Lines{Max: 3}, "abcd", []string{"lines", "3 bytes"}},
		{framing.Delimiter{Delim: []byte("--"), Max: 3}, "abcd", []string{"delimiter", "3 bytes"}},
		{framing.Fixed{Size: 3}, "ab", []string{"fixed", "2 bytes"}},
		{framing.LengthPrefix{Size: 1, Max: 3}, "\x99", []string{"length prefix", "153 bytes", "at most 3"}},
		{framing.Varint{Max: 3}, "\x09", []string{"varint", "9 bytes", "at most 3"}},
		{framing.Varint{Max: 3}, "\x83\x00", []string{"varint", "length 3 in 2 bytes"}},
		{framing.DotTerminated{Max: 3}, "abcd", []string{"dot-terminated", "3 bytes"}},
		{framing.Split{Func: bufio.ScanWords, Max: 3}, "abcd", []string{"split", "3 bytes"}},
	} {
		err := cut(t, c.framing, false, false, []byte(c.stream)).err
		for _, want := range c.want {
			if !strings.Contains(text(err), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
	}
}
