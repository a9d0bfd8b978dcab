package framing_test

import (
	"bufio"
	"math"
	"strings"
	"testing"

	"github.com/evmq/evmq/server/framing"
)

// A bad value is reported by Check, with its framing and itself, and by Next, which does not panic.
func TestBadValues(t *testing.T) {
	for _, c := range []struct {
		framing framing.Framing
		want    string
	}{
		{framing.Lines(-1), "lines: framing: invalid value: maximum of -1 bytes"},
		{framing.Lines(framing.LargestMax + 1), "maximum of 1073741825 bytes"},
		{framing.Delimiter([]byte("a"), -1), "delimiter: framing: invalid value: maximum of -1 bytes"},
		{framing.Delimiter(nil, 0), "delimiter: framing: invalid value: delimiter of 0 bytes"},
		{framing.Fixed(0), "fixed: framing: invalid value: messages of 0 bytes"},
		{framing.Fixed(-1), "messages of -1 bytes"},
		{framing.Fixed(math.MaxInt), "fixed"},
		{framing.LengthPrefix(2, big, -1), "length prefix: framing: invalid value: maximum of -1 bytes"},
		{framing.LengthPrefix(3, big, 0), "size of 3 bytes"},
		{framing.LengthPrefix(-8, big, 0), "size of -8 bytes"},
		{framing.LengthPrefix(2, nil, 0), "nil byte order"},
		{framing.Varint(math.MinInt), "varint"},
		{framing.DotTerminated(-2), "dot-terminated: framing: invalid value: maximum of -2 bytes"},
		{framing.Split(bufio.ScanLines, -1), "split: framing: invalid value: maximum of -1 bytes"},
		{framing.Split(nil, 0), "split: framing: invalid value: nil SplitFunc"},
		{nil, "nil Framing"},
		{custom{maxLen: -1}, "MaxLen is -1 bytes"},
		{custom{maxLen: 1, err: framing.ErrInvalid}, "invalid"},
	} {
		err := framing.Check(c.framing)
		wantErr(t, err, framing.ErrInvalid)
		if !strings.Contains(text(err), c.want) {
			t.Errorf("%v does not say %q", err, c.want)
		}
		if _, own := c.framing.(custom); own || c.framing == nil {
			continue
		}
		for _, data := range []string{"", "abc\n"} {
			if got := cut(t, c.framing, false, false, []byte(data)); got.err != err || got.messages != nil {
				t.Errorf("Next: messages %q, %v", got.messages, got.err)
			}
		}
	}
}

// Check finds nothing wrong with good values, nor with a Framing from elsewhere.
func TestGoodValues(t *testing.T) {
	good := []framing.Framing{framing.Lines(framing.LargestMax), framing.Fixed(framing.LargestMax), custom{maxLen: 1}}
	for _, s := range samples {
		good = append(good, s.framing)
	}
	for _, f := range good {
		if err := framing.Check(f); err != nil {
			t.Error(err)
		}
	}
}

// Delimiter keeps a copy.
func TestDelimiterIsCopied(t *testing.T) {
	delim := []byte("--")
	f := framing.Delimiter(delim, 0)
	copy(delim, "++")
	if got := cut(t, f, false, false, []byte("a--")); len(got.messages) != 1 {
		t.Errorf("messages %q, %v", got.messages, got.err)
	}
}

type custom struct {
	framing.Framing
	maxLen int
	err    error
}

func (c custom) MaxLen() int  { return c.maxLen }
func (c custom) Check() error { return c.err }
