package framing_test

import (
	"bytes"
	"testing"

	"github.com/evmq/evmq/server/framing"
)

// TestNothingIsScannedTwice: bytes before the cursor are not examined again, so the end of a message that is put there afterwards is not
// found. The message arrives byte by byte; if each call examined all of it, the test would not end in time.
func TestNothingIsScannedTwice(t *testing.T) {
	const size, limit = 1 << 20, 2 << 20
	for _, c := range []struct {
		name, end string
		framing   framing.Framing
	}{
		{"lines", "\n", framing.Lines{Max: limit}},
		{"delimiter of 1 byte", "|", framing.Delimiter{Delim: []byte("|"), Max: limit}},
		{"delimiter of 7 bytes", "the end", framing.Delimiter{Delim: []byte("the end"), Max: limit}},
		{"dot", "\r\n.\r\n", framing.DotTerminated{Max: limit}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := append(bytes.Repeat([]byte("a"), size), c.end...)
			cursor := 0
			for i := range data {
				r, err := c.framing.Next(data[:i+1], cursor, false)
				n, next := r.Advance, r.Cursor
				if err != nil {
					t.Fatal(err)
				}
				if i == len(data)-1 {
					if n != len(data) {
						t.Errorf("took %d bytes of %d, from cursor %d", n, len(data), cursor)
					}
					return
				}
				if n != 0 || next < cursor || next < i+1-(len(c.end)-1) {
					t.Fatalf("after %d bytes took %d, cursor %d after %d", i+1, n, next, cursor)
				}
				for ; cursor < next; cursor++ {
					data[cursor] = c.end[cursor%len(c.end)]
				}
			}
		})
	}
}

// TestEndInTwoPieces: the cursor is before the beginning of an incomplete end of a message.
func TestEndInTwoPieces(t *testing.T) {
	for _, c := range []struct {
		end     string
		framing framing.Framing
	}{
		{"\r\n", framing.Lines{}},
		{"abcabd", framing.Delimiter{Delim: []byte("abcabd")}},
		{"\r\n.\r\n", framing.DotTerminated{}},
	} {
		for at := range len(c.end) {
			for _, before := range []string{"", "x", "abc", "\r", "\r\n.", "xxxxxxxxxx"} {
				whole := before + c.end
				got := cut(t, c.framing, false, false, []byte(before+c.end[:at]), []byte(c.end[at:]))
				got.sameAs(cut(t, c.framing, false, false, []byte(whole)))
				if got.taken != len(whole) {
					t.Errorf("%q, %q: took %d bytes", before, c.end, got.taken)
				}
			}
		}
	}
}
