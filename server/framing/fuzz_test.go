package framing_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/evmq/evmq/server/framing"
)

// seed adds each stream of the samples, with several limits and pieces.
func seed(f *testing.F) {
	for i, s := range samples {
		f.Add([]byte(s.stream), uint16(i%9), uint64(1+i))
	}
	f.Add([]byte(strings.Repeat("a", 1000)), uint16(999), uint64(1<<40))
}

// eachWay passes data in one piece, in single bytes and in pieces whose sizes are digits of a number, and checks that the results are the same.
func eachWay(t *testing.T, f framing.Framing, foreign bool, data []byte, sizes uint64) *stream {
	t.Helper()
	if len(data) > 1<<12 {
		t.Skip("longer than worth it")
	}
	whole := cut(t, f, foreign, false, data)
	for _, endsLater := range []bool{false, true} {
		cut(t, f, foreign, endsLater, bytewise(data)...).sameAs(whole)
		cut(t, f, foreign, endsLater, piecewise(data, sizes)...).sameAs(whole)
	}
	return whole
}

func piecewise(data []byte, sizes uint64) (pieces [][]byte) {
	for digits := sizes; len(data) > 0; digits /= 13 {
		if digits == 0 {
			digits = sizes + 1
		}
		n := min(int(digits%13), len(data))
		pieces, data = append(pieces, data[:n]), data[n:]
	}
	return pieces
}

// wrote checks that the messages, written again, are the bytes that were removed.
func (s *stream) wrote(data []byte, write func(dst, message []byte) []byte) {
	s.t.Helper()
	var again []byte
	for _, m := range s.messages {
		again = write(again, []byte(m))
	}
	if !bytes.Equal(again, data[:s.taken]) {
		s.t.Fatalf("%q was taken for %q", data[:s.taken], again)
	}
}

// scanned checks that the messages are those that bufio.Scanner finds, if it returns no error.
func (s *stream) scanned(data []byte, split bufio.SplitFunc) {
	s.t.Helper()
	if s.err != nil {
		return
	}
	var want []string
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Split(split); scanner.Scan(); {
		want = append(want, scanner.Text())
	}
	if !slices.Equal(s.messages, want) {
		s.t.Fatalf("messages %q, bufio.Scanner finds %q", s.messages, want)
	}
}

func FuzzLines(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte, limit uint16, sizes uint64) {
		s := eachWay(t, framing.Lines{Max: int(limit)}, false, data, sizes)
		s.scanned(data, bufio.ScanLines)
	})
}

func FuzzDelimiter(f *testing.F) {
	for i, delim := range []string{"\n", "--", "aab", "\r\n.\r\n", "abcabd", "a"} {
		f.Add([]byte("aaaab--abcabcabd\r\n.\r\n.\r\n"), []byte(delim), uint16(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, data, delim []byte, limit uint16, sizes uint64) {
		if len(delim) == 0 || len(delim) > 100 {
			return
		}
		s := eachWay(t, framing.Delimiter{Delim: delim, Max: int(limit)}, false, data, sizes)
		s.wrote(data, func(dst, m []byte) []byte { return append(append(dst, m...), delim...) })
		for _, m := range s.messages {
			if strings.Contains(m, string(delim)) {
				t.Fatalf("%q contains %q", m, delim)
			}
		}
		if s.err == nil && !bytes.HasSuffix(data, delim) && len(data) > 0 {
			t.Fatal("what is left without a delimiter is no error")
		}
	})
}

func FuzzFixed(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte, n uint16, sizes uint64) {
		s := eachWay(t, framing.Fixed{Size: 1 + int(n)}, false, data, sizes)
		s.wrote(data, func(dst, m []byte) []byte { return append(dst, m...) })
		if (s.err != nil) != (len(data)%(1+int(n)) != 0) {
			t.Fatalf("%v after %d bytes", s.err, len(data))
		}
	})
}

func FuzzLengthPrefix(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte, limit uint16, sizes uint64) {
		size := 1 << (sizes % 4)
		order := []binary.ByteOrder{big, little}[sizes/4%2]
		s := eachWay(t, framing.LengthPrefix{Size: size, Order: order, Max: int(limit)}, false, data, sizes)
		s.wrote(data, func(dst, m []byte) []byte {
			dst, err := framing.AppendLengthPrefix(dst, m, size, order)
			if err != nil {
				t.Fatal(err)
			}
			return dst
		})
	})
}

func FuzzVarint(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte, limit uint16, sizes uint64) {
		s := eachWay(t, framing.Varint{Max: int(limit)}, false, data, sizes)
		s.wrote(data, framing.AppendVarint)
	})
}

func FuzzDotTerminated(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte, limit uint16, sizes uint64) {
		s := eachWay(t, framing.DotTerminated{Max: int(limit)}, false, data, sizes)
		s.wrote(data, func(dst, m []byte) []byte { return append(append(dst, m...), ".\r\n"...) })
		for _, m := range s.messages {
			if m != "" && !strings.HasSuffix(m, "\r\n") || strings.Contains("\r\n"+m, "\r\n.\r\n") {
				t.Fatalf("message %q", m)
			}
		}
		checkStuffing(t, framing.DotTerminated{Max: 1 << 16}, data)
	})
}

// FuzzSplit runs bufio's SplitFuncs, which find what bufio.Scanner finds, and one whose results, valid or not, are in the data.
func FuzzSplit(f *testing.F) {
	seed(f)
	f.Add([]byte{0x0f, 0x13, 0x21, 0x30, 0x41, 0x50, 0x60, 0x7f}, uint16(0), uint64(4))
	f.Fuzz(func(t *testing.T, data []byte, limit uint16, sizes uint64) {
		kinds := []bufio.SplitFunc{bufio.ScanLines, bufio.ScanWords, bufio.ScanBytes, bufio.ScanRunes}
		if i := int(sizes % 5); i < len(kinds) {
			atLeast := 4 // the length of a rune
			s := eachWay(t, framing.Split{Func: kinds[i], Max: atLeast + int(limit)}, true, data, sizes)
			s.scanned(data, kinds[i])
			return
		}
		s := cut(t, framing.Split{Func: obey, Max: int(limit)}, true, false, piecewise(data, sizes)...)
		for _, good := range []error{nil, framing.ErrMalformed, framing.ErrTooLong, io.ErrUnexpectedEOF} {
			if errors.Is(s.err, good) {
				return
			}
		}
		t.Fatal(s.err)
	})
}

// obey takes its results from the first byte.
func obey(data []byte, _ bool) (advance int, token []byte, err error) {
	if len(data) == 0 {
		return 0, nil, nil
	}
	advance = int(data[0]&15) - 1
	switch data[0] >> 4 {
	case 0, 1:
	case 2, 3, 4:
		token = data[:min(len(data), max(advance, 0))]
	case 5:
		token = []byte{}
	case 6:
		token, err = data, bufio.ErrFinalToken
	case 7:
		err = bufio.ErrFinalToken
	case 8:
		err = io.ErrNoProgress
	default:
		advance, token = 1, data[:1]
	}
	return advance, token, err
}
