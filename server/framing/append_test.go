package framing_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server/framing"
)

// TestAppend: the helpers append a message to dst that the framing finds.
func TestAppend(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 255, 256, 65535} {
		payload := bytes.Repeat([]byte("a"), n)
		for _, size := range []int{1, 2, 4, 8} {
			for _, order := range []binary.ByteOrder{big, little} {
				sent, err := framing.AppendLengthPrefix([]byte("before"), payload, size, order)
				if size == 1 && n > 255 {
					testkit.WantErr(t, err, framing.ErrTooLong)
					if string(sent) != "before" {
						t.Errorf("%q after an error", sent)
					}
					continue
				}
				testkit.WantErr(t, err, nil)
				one(t, framing.LengthPrefix{Size: size, Order: order}, sent, payload)
			}
		}
		one(t, framing.Varint{}, framing.AppendVarint([]byte("before"), payload), payload)
	}
}

// one checks that sent is "before" and a single message, want.
func one(t *testing.T, f framing.Framing, sent, want []byte) {
	t.Helper()
	sent, ok := bytes.CutPrefix(sent, []byte("before"))
	got := cut(t, f, false, false, sent)
	if !ok || len(got.messages) != 1 || got.messages[0] != string(want) || got.err != nil {
		t.Errorf("%T, %d bytes: %d messages, %v", f, len(want), len(got.messages), got.err)
	}
}

// TestAppendLengthPrefixBadValues: AppendLengthPrefix refuses sizes, orders and lengths that LengthPrefix does not support.
func TestAppendLengthPrefixBadValues(t *testing.T) {
	for _, c := range []struct {
		size  int
		order binary.ByteOrder
	}{{0, big}, {3, big}, {-1, big}, {16, big}, {2, nil}} {
		dst, err := framing.AppendLengthPrefix([]byte("before"), []byte("a"), c.size, c.order)
		testkit.WantErr(t, err, framing.ErrInvalid)
		if string(dst) != "before" {
			t.Errorf("%q after an error", dst)
		}
	}
}
