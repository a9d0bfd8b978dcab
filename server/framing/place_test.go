package framing_test

import (
	"bytes"
	"testing"

	"github.com/evmq/evmq/server/framing"
)

// What was looked through is not looked at again: the end of a message put into it afterwards is not found. The message comes
// byte by byte, and the test would not come to its end if each byte cost as much as those before it.
func TestNothingIsScannedTwice(t *testing.T) {
	const size, limit = 1 << 20, 2 << 20
	for _, c := range []struct {
		name, end string
		framing   framing.Framing
	}{
		{"lines", "\n", framing.Lines(limit)},
		{"delimiter of 1 byte", "|", framing.Delimiter([]byte("|"), limit)},
		{"delimiter of 7 bytes", "the end", framing.Delimiter([]byte("the end"), limit)},
		{"dot", "\r\n.\r\n", framing.DotTerminated(limit)},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := append(bytes.Repeat([]byte("a"), size), c.end...)
			place := 0
			for i := range data {
				n, _, next, err := c.framing.Next(data[:i+1], place, false)
				if err != nil {
					t.Fatal(err)
				}
				if i == len(data)-1 {
					if n != len(data) {
						t.Errorf("took %d bytes of %d, from place %d", n, len(data), place)
					}
					return
				}
				if n != 0 || next < place || next < i+1-(len(c.end)-1) {
					t.Fatalf("after %d bytes took %d, place %d after %d", i+1, n, next, place)
				}
				for ; place < next; place++ {
					data[place] = c.end[place%len(c.end)]
				}
			}
		})
	}
}

// A place that stops short of the data holds the beginning of an end that has come apart.
func TestEndInTwoPieces(t *testing.T) {
	for _, c := range []struct {
		end     string
		framing framing.Framing
	}{
		{"\r\n", framing.Lines(0)},
		{"abcabd", framing.Delimiter([]byte("abcabd"), 0)},
		{"\r\n.\r\n", framing.DotTerminated(0)},
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
