package framing_test

import (
	"bufio"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server/framing"
)

// TestBadValues: Check reports an invalid value with the framing, the field and the value, and Next returns the same error and does not panic.
func TestBadValues(t *testing.T) {
	for _, c := range []struct {
		framing framing.Framing
		want    string
	}{
		{framing.Lines{Max: -1}, "lines: framing: invalid value: Max is -1"},
		{framing.Lines{Max: framing.LargestMax + 1}, "Max is 1073741825"},
		{framing.Delimiter{Delim: []byte("a"), Max: -1}, "delimiter: framing: invalid value: Max is -1"},
		{framing.Delimiter{}, "delimiter: framing: invalid value: Delim is empty"},
		{framing.Fixed{}, "fixed: framing: invalid value: Size is 0"},
		{framing.Fixed{Size: -1}, "Size is -1"},
		{framing.Fixed{Size: math.MaxInt}, "fixed"},
		{framing.LengthPrefix{Size: 2, Order: big, Max: -1}, "length prefix: framing: invalid value: Max is -1"},
		{framing.LengthPrefix{Size: 3, Order: big}, "size is 3"},
		{framing.LengthPrefix{Size: -8, Order: big}, "size is -8"},
		{framing.LengthPrefix{Size: 2}, "order is nil"},
		{framing.Varint{Max: math.MinInt}, "varint"},
		{framing.DotTerminated{Max: -2}, "dot-terminated: framing: invalid value: Max is -2"},
		{framing.Split{Func: bufio.ScanLines, Max: -1}, "split: framing: invalid value: Max is -1"},
		{framing.Split{}, "split: framing: invalid value: Func is nil"},
		{nil, "nil Framing"},
		{(*framing.Lines)(nil), "nil *framing.Lines"},
		{(*custom)(nil), "nil *framing_test.custom"},
		{custom{maxLen: -1}, "MaxLen is -1 bytes"},
		{custom{maxLen: 1, err: framing.ErrInvalid}, "invalid"},
	} {
		err := framing.Check(c.framing)
		testkit.WantErr(t, err, framing.ErrInvalid)
		if !strings.Contains(text(err), c.want) {
			t.Errorf("%v does not say %q", err, c.want)
		}
		if _, own := c.framing.(custom); own || c.framing == nil || reflect.ValueOf(c.framing).Kind() == reflect.Pointer {
			continue
		}
		for _, data := range []string{"", "abc\n"} {
			if got := cut(t, c.framing, false, false, []byte(data)); text(got.err) != text(err) || got.messages != nil {
				t.Errorf("Next: messages %q, %v", got.messages, got.err)
			}
		}
	}
}

// TestGoodValues: Check returns nil for valid values, and for a Framing of another package without Check.
func TestGoodValues(t *testing.T) {
	good := []framing.Framing{framing.Lines{Max: framing.LargestMax}, framing.Fixed{Size: framing.LargestMax}, custom{maxLen: 1}}
	for _, s := range samples {
		good = append(good, s.framing)
	}
	for _, f := range good {
		if err := framing.Check(f); err != nil {
			t.Error(err)
		}
	}
}

type custom struct {
	framing.Framing
	maxLen int
	err    error
}

func (c custom) MaxLen() int  { return c.maxLen }
func (c custom) Check() error { return c.err }
