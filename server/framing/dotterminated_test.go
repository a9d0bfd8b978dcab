package framing_test

import (
	"bytes"
	"testing"

	"github.com/evmq/evmq/server/framing"
	"pgregory.net/rapid"
)

// TestStuffing: a dot is added to lines that begin with one, and only CRLF ends a line.
func TestStuffing(t *testing.T) {
	for _, c := range []struct{ msg, sent string }{
		{"", ".\r\n"},
		{"a\r\n", "a\r\n.\r\n"},
		{"a", "a\r\n.\r\n"}, // the end of the line is added
		{".", "..\r\n.\r\n"},
		{".\r\n", "..\r\n.\r\n"},
		{"..a\r\nb.\r\n.c\r\n", "...a\r\nb.\r\n..c\r\n.\r\n"},
		{"\r\n\r\n", "\r\n\r\n.\r\n"},
		{"a\n.b\r.c\r\n", "a\n.b\r.c\r\n.\r\n"}, // no lines
		{"a\r", "a\r\r\n.\r\n"},
	} {
		if got := framing.AppendDotTerminated([]byte("220\r\n"), []byte(c.msg)); string(got) != "220\r\n"+c.sent {
			t.Errorf("%q: sent %q, want %q", c.msg, got, c.sent)
		}
	}
}

// TestStuffAndUnstuff: DotTerminated finds the output of AppendDotTerminated as one message, and Unstuff restores it, in place, too.
func TestStuffAndUnstuff(t *testing.T) {
	f := framing.DotTerminated{}
	rapid.Check(t, func(t *rapid.T) {
		msg := []byte(rapid.StringOf(rapid.SampledFrom([]rune("a\r\n.."))).Draw(t, "msg"))
		checkStuffing(t, f, msg)
	})
}

func checkStuffing(t failer, f framing.Framing, msg []byte) {
	t.Helper()
	want := bytes.Clone(msg)
	if len(msg) > 0 && !bytes.HasSuffix(msg, []byte("\r\n")) {
		want = append(want, "\r\n"...)
	}
	s := cut(t, f, false, false, framing.AppendDotTerminated(nil, msg))
	if len(s.messages) != 1 || s.err != nil {
		t.Fatalf("%q: messages %q, %v", msg, s.messages, s.err)
	}
	stuffed := []byte(s.messages[0])
	if got := framing.Unstuff([]byte("x"), stuffed); string(got) != "x"+string(want) {
		t.Fatalf("%q: %q, want %q", stuffed, got[1:], want)
	}
	if got := framing.Unstuff(stuffed[:0], stuffed); !bytes.Equal(got, want) {
		t.Fatalf("in place: %q, want %q", got, want)
	}
}
