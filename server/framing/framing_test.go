package framing_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server/framing"
	"pgregory.net/rapid"
)

// forEach runs test on each sample.
func forEach(t *testing.T, test func(t *testing.T, s sample)) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) { test(t, s) })
	}
}

// TestMessages: each framing finds its messages, in one piece, in single bytes, and with the end of the stream together with the last byte or later.
func TestMessages(t *testing.T) {
	forEach(t, func(t *testing.T, s sample) {
		for _, pieces := range [][][]byte{{[]byte(s.stream)}, bytewise([]byte(s.stream))} {
			for _, endsLater := range []bool{false, true} {
				got := cut(t, s.framing, s.foreign, endsLater, pieces...)
				if !slices.Equal(got.messages, s.messages) {
					t.Errorf("%d pieces, end later %v: messages %q, want %q", len(pieces), endsLater, got.messages, s.messages)
				}
				testkit.WantErr(t, got.err, s.err)
			}
		}
	})
}

// TestAnyPieces: the result does not depend on the pieces in which the stream arrives.
func TestAnyPieces(t *testing.T) {
	forEach(t, func(t *testing.T, s sample) {
		rapid.Check(t, func(t *rapid.T) {
			var pieces [][]byte
			for rest := []byte(s.stream); len(rest) > 0; {
				n := rapid.IntRange(0, len(rest)).Draw(t, "piece")
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			got := cut(t, s.framing, s.foreign, rapid.Bool().Draw(t, "ends later"), pieces...)
			got.sameAs(cut(t, s.framing, s.foreign, false, []byte(s.stream)))
		})
	})
}

// TestDataStayAsTheyAre: Next does not change the data.
func TestDataStayAsTheyAre(t *testing.T) {
	forEach(t, func(t *testing.T, s sample) {
		data := []byte(s.stream)
		if cut(t, s.framing, s.foreign, false, data); string(data) != s.stream {
			t.Errorf("changed to %q", data)
		}
	})
}

// TestNextDoesNotAllocate: as long as the stream is valid, whether the message is complete or not.
func TestNextDoesNotAllocate(t *testing.T) {
	forEach(t, func(t *testing.T, s sample) {
		whole := []byte(s.stream)
		for end := range len(whole) + 1 {
			data := whole[:end]
			if _, err := s.framing.Next(data, 0, false); err != nil {
				return
			}
			if n := testing.AllocsPerRun(10, func() { _, _ = s.framing.Next(data, 0, false) }); n != 0 {
				t.Fatalf("%v allocations for %q", n, data)
			}
		}
	})
}

// TestAppendDoesNotAllocate: if dst has enough capacity.
func TestAppendDoesNotAllocate(t *testing.T) {
	dst, payload := make([]byte, 0, 100), []byte(".a\r\n..\r\n")
	for name, write := range map[string]func() error{
		"varint":  func() error { framing.AppendVarint(dst, payload); return nil },
		"dot":     func() error { framing.AppendDotTerminated(dst, payload); return nil },
		"unstuff": func() error { framing.Unstuff(dst, payload); return nil },
		"prefix": func() error {
			var err error
			for _, size := range []int{1, 2, 4, 8} {
				if _, e := framing.AppendLengthPrefix(dst, payload, size, binary.BigEndian); e != nil {
					err = e
				}
			}
			return err
		},
	} {
		if n := testing.AllocsPerRun(10, func() { _ = write() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if err := write(); err != nil {
			t.Error(err)
		}
	}
}

// TestManyConnections: a Framing serves many connections at the same time, without data races.
func TestManyConnections(t *testing.T) {
	forEach(t, func(t *testing.T, s sample) {
		done := make(chan *stream)
		for range 3 {
			go func() { done <- cut(panicker{}, s.framing, s.foreign, false, bytewise([]byte(s.stream))...) }()
		}
		for range 3 {
			if got := <-done; !slices.Equal(got.messages, s.messages) {
				t.Errorf("messages %q, want %q", got.messages, s.messages)
			}
		}
	})
}

// panicker panics on goroutines on which t.Fatal may not be called.
type panicker struct{}

func (panicker) Helper()                        {}
func (panicker) Fatalf(format string, _ ...any) { panic(format) }
