package framing_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"unsafe"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/server/framing"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// failer is a *testing.T, or a *rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// A stream uses a Framing as a connection does, and checks each result by itself.
type stream struct {
	t        failer
	f        framing.Framing
	foreign  bool // messages need not be in the data
	data     []byte
	cursor   int
	messages []string
	taken    int
	err      error
	final    bool
}

// feed appends piece, whose end is that of the stream if atEOF, and takes all messages.
func (s *stream) feed(piece []byte, atEOF bool) {
	s.t.Helper()
	// A new array each time: no result may depend on the old one, and no bytes follow the data.
	s.data = slices.Concat(s.data, piece)
	for idle := 0; s.err == nil && !s.final; {
		r, err := s.f.Next(s.data, s.cursor, atEOF)
		n, message, next := r.Advance, r.Message, r.Cursor
		switch {
		case n < 0 || n > len(s.data):
			s.t.Fatalf("takes %d of %d bytes", n, len(s.data))
		case message != nil && cap(message) != len(message):
			s.t.Fatalf("a message of %d bytes has room for %d", len(message), cap(message))
		case message != nil && !s.foreign && !inside(message, s.data[:n]):
			s.t.Fatalf("message %q is not in %q", message, s.data[:n])
		case next < 0 || next > 100 && next > len(s.data)-n:
			s.t.Fatalf("cursor is %d after %d bytes", next, len(s.data)-n)
		case err != nil && (n != 0 || message != nil || next != 0 || r.Final):
			s.t.Fatalf("%d bytes and message %q with %v", n, message, err)
		case err == nil && !r.Final && n == 0 && message == nil && len(s.data) >= s.f.MaxLen():
			s.t.Fatalf("undecided with %d bytes, MaxLen is %d", len(s.data), s.f.MaxLen())
		case err == nil && !r.Final && n == 0 && message == nil && atEOF && len(s.data) > 0:
			s.t.Fatalf("nothing is said of the rest %q", s.data)
		}
		if message != nil {
			s.messages = append(s.messages, string(message))
		}
		s.data, s.cursor, s.err, s.final = s.data[n:], next, err, r.Final
		s.taken += n
		if n > 0 {
			idle = 0
		} else if idle++; message == nil {
			return
		}
		if idle > 1000 {
			s.t.Fatalf("takes nothing for ever")
		}
	}
}

func inside(message, data []byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(message)))
	from := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	return at >= from && at+uintptr(len(message)) <= from+uintptr(len(data))
}

// cut feeds all pieces and ends the stream, with the last of them or after it.
func cut(t failer, f framing.Framing, foreign, endsLater bool, pieces ...[]byte) *stream {
	t.Helper()
	s := &stream{t: t, f: f, foreign: foreign}
	for i, p := range pieces {
		s.feed(p, !endsLater && i == len(pieces)-1)
	}
	if endsLater || len(pieces) == 0 {
		s.feed(nil, true)
	}
	return s
}

// sameAs compares the result with that of other pieces of the same stream.
func (s *stream) sameAs(o *stream) {
	s.t.Helper()
	if !slices.Equal(s.messages, o.messages) || s.taken != o.taken || text(s.err) != text(o.err) || s.final != o.final {
		s.t.Fatalf("in pieces: %q, %d bytes, %v\nat once: %q, %d bytes, %v",
			s.messages, s.taken, s.err, o.messages, o.taken, o.err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// bytewise returns data in pieces of one byte.
func bytewise(data []byte) [][]byte { return slices.Collect(slices.Chunk(data, 1)) }

// A sample is a stream and its messages.
type sample struct {
	name     string
	framing  framing.Framing
	stream   string
	messages []string
	err      error // nil for a valid end
	foreign  bool
}

var (
	big    = binary.BigEndian
	little = binary.LittleEndian
)

var samples = []sample{
	{"lines", framing.Lines{Max: 3}, "abc\nde\r\n\n\r\nf\rg\nabc\r\n", []string{"abc", "de", "", "", "f\rg", "abc"}, nil, false},
	{"one \\r is dropped", framing.Lines{Max: 9}, "a\r\r\n\r\r\n", []string{"a\r", "\r"}, nil, false},
	{"the last line needs no end", framing.Lines{Max: 3}, "a\nabc", []string{"a", "abc"}, nil, false},
	{"nor its \\n", framing.Lines{Max: 3}, "abc\r", []string{"abc"}, nil, false},
	{"a lone \\r at the end", framing.Lines{Max: 3}, "a\n\r", []string{"a", ""}, nil, false},
	{"a line too long", framing.Lines{Max: 3}, "a\nabcd\nb\n", []string{"a"}, framing.ErrTooLong, false},
	{"by a \\r", framing.Lines{Max: 3}, "abc\r\r\n", nil, framing.ErrTooLong, false},
	{"no lines", framing.Lines{}, "", nil, nil, false},

	{"delimiter", framing.Delimiter{Delim: []byte("--"), Max: 3}, "abc----a---b--", []string{"abc", "", "a", "-b"}, nil, false},
	{"one byte", framing.Delimiter{Delim: []byte{0}}, "a\x00\x00b\x00", []string{"a", "", "b"}, nil, false},
	{"its beginning repeats", framing.Delimiter{Delim: []byte("aab"), Max: 4}, "aaaabaabcaab", []string{"aa", "", "c"}, nil, false},
	{"no delimiter at the end", framing.Delimiter{Delim: []byte("--"), Max: 3}, "a--b-", []string{"a"}, io.ErrUnexpectedEOF, false},
	{"a message too long", framing.Delimiter{Delim: []byte("--"), Max: 3}, "abc--abcd--", []string{"abc"}, framing.ErrTooLong, false},
	{"with a piece of a delimiter", framing.Delimiter{Delim: []byte("--"), Max: 3}, "abc-d--", nil, framing.ErrTooLong, false},

	{"fixed", framing.Fixed{Size: 3}, "abc\n\x00def", []string{"abc", "\n\x00d"}, io.ErrUnexpectedEOF, false},
	{"a single byte", framing.Fixed{Size: 1}, "ab", []string{"a", "b"}, nil, false},

	{"1 byte", framing.LengthPrefix{Size: 1}, "\x03abc\x00\x01d", []string{"abc", "", "d"}, nil, false},
	{"2 bytes", framing.LengthPrefix{Size: 2, Order: big, Max: 3}, "\x00\x03abc\x00\x00\x00\x01d", []string{"abc", "", "d"}, nil, false},
	{"2 little", framing.LengthPrefix{Size: 2, Order: little, Max: 3}, "\x03\x00abc\x00\x00", []string{"abc", ""}, nil, false},
	{"4 bytes", framing.LengthPrefix{Size: 4, Order: big, Max: 3}, "\x00\x00\x00\x03abc", []string{"abc"}, nil, false},
	{"4 little", framing.LengthPrefix{Size: 4, Order: little, Max: 3}, "\x03\x00\x00\x00abc", []string{"abc"}, nil, false},
	{"8 bytes", framing.LengthPrefix{Size: 8, Order: big, Max: 3}, "\x00\x00\x00\x00\x00\x00\x00\x03abc", []string{"abc"}, nil, false},
	{"8 little", framing.LengthPrefix{Size: 8, Order: little, Max: 3}, "\x03\x00\x00\x00\x00\x00\x00\x00abc", []string{"abc"}, nil, false},
	{"a length too large", framing.LengthPrefix{Size: 2, Order: big, Max: 3}, "\x00\x03abc\x00\x04abcd", []string{"abc"}, framing.ErrTooLong, false},
	{"with all bits", framing.LengthPrefix{Size: 8, Order: big}, "\xff\xff\xff\xff\xff\xff\xff\xff", nil, framing.ErrTooLong, false},
	{"with the top bit", framing.LengthPrefix{Size: 8, Order: little}, "\x01\x00\x00\x00\x00\x00\x00\x80a", nil, framing.ErrTooLong, false},
	{"more than 32 bits", framing.LengthPrefix{Size: 8, Order: big, Max: 3}, "\x00\x00\x00\x01\x00\x00\x00\x01a", nil, framing.ErrTooLong, false},
	{"half a length", framing.LengthPrefix{Size: 4, Order: big, Max: 3}, "\x00\x00", nil, io.ErrUnexpectedEOF, false},
	{"half a message", framing.LengthPrefix{Size: 2, Order: big, Max: 3}, "\x00\x03ab", nil, io.ErrUnexpectedEOF, false},

	{"varint", framing.Varint{Max: 3}, "\x03abc\x00\x01d", []string{"abc", "", "d"}, nil, false},
	{"of 2 bytes", framing.Varint{Max: 128}, "\x80\x01" + string(make([]byte, 128)), []string{string(make([]byte, 128))}, nil, false},
	{"too large", framing.Varint{Max: 128}, "\x81\x01a", nil, framing.ErrTooLong, false},
	{"the largest", framing.Varint{}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", nil, framing.ErrTooLong, false},
	{"beyond", framing.Varint{}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02a", nil, framing.ErrMalformed, false},
	{"without end", framing.Varint{}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", nil, framing.ErrMalformed, false},
	{"longer than it needs", framing.Varint{}, "\x01a\x81\x00a", []string{"a"}, framing.ErrMalformed, false},
	{"half a varint", framing.Varint{}, "\x81", nil, io.ErrUnexpectedEOF, false},
	{"a varint's half message", framing.Varint{}, "\x02a", nil, io.ErrUnexpectedEOF, false},

	{"dot", framing.DotTerminated{}, "a\r\n..b\r\n.\r\n.\r\nc\r\n.\r\n", []string{"a\r\n..b\r\n", "", "c\r\n"}, nil, false},
	{"an empty line", framing.DotTerminated{Max: 2}, "\r\n.\r\n", []string{"\r\n"}, nil, false},
	{"a bare LF ends no line", framing.DotTerminated{}, "\n.\r\na\n.\r\n\r\n.\n\r\n.\r\n", []string{"\n.\r\na\n.\r\n\r\n.\n\r\n"}, nil, false},
	{"nor does a bare CR", framing.DotTerminated{}, "\r.\r\r\n.\r\r\n\r\n.\r\n", []string{"\r.\r\r\n.\r\r\n\r\n"}, nil, false},
	{"text too long", framing.DotTerminated{Max: 4}, "ab\r\n.\r\nabc\r\n.\r\n", []string{"ab\r\n"}, framing.ErrTooLong, false},
	{"no dot", framing.DotTerminated{}, ".\r\na\r\n.", []string{""}, io.ErrUnexpectedEOF, false},

	{"split in lines", framing.Split{Func: bufio.ScanLines, Max: 4}, "abc\nd\r\n\nabcd", []string{"abc", "d", "", "abcd"}, nil, false},
	{"in words", framing.Split{Func: bufio.ScanWords, Max: 4}, "  a bcd           ef  ", []string{"a", "bcd", "ef"}, nil, false},
	{"in runes", framing.Split{Func: bufio.ScanRunes, Max: 4}, "aö\xff€", []string{"a", "ö", "\ufffd", "€"}, nil, true},
	{"a word too long", framing.Split{Func: bufio.ScanWords, Max: 4}, "abc abcde ", []string{"abc"}, framing.ErrTooLong, false},
	{"a rest", framing.Split{Func: scanSemicolons}, "a;b;c", []string{"a", "b"}, io.ErrUnexpectedEOF, false},
}

// scanSemicolons leaves bytes that no semicolon follows.
func scanSemicolons(data []byte, _ bool) (int, []byte, error) {
	if i := slices.Index(data, ';'); i >= 0 {
		return i + 1, data[:i], nil
	}
	return 0, nil, nil
}
