package wsclient

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestParserFindsTheMessages in frames of each length, in one piece and byte by byte. The server's frames have no mask.
func TestParserFindsTheMessages(t *testing.T) {
	long, longer := strings.Repeat("m", 300), strings.Repeat("l", 70_000)
	stream := "\x81\x02hi" + // a message
		"\x01\x01a" + "\x89\x04ping" + "\x00\x01b" + "\x80\x01c" + // three fragments, and a ping between
		"\x82\x00" + // an empty one
		"\x82\x7e\x01\x2c" + long +
		"\xc1\x7f\x00\x00\x00\x00\x00\x01\x11\x70" + longer +
		"\x8a\x00" + "\x81\x01z"
	want := []Message{
		{Opcode: Text, Length: 2, Payload: []byte("hi")}, {Opcode: Text, Length: 3, Payload: []byte("abc")}, {Opcode: Binary, Payload: []byte{}},
		{Opcode: Binary, Length: 300, Payload: []byte(long)}, {Opcode: Text, Length: 70_000, Compressed: true, Payload: []byte(longer)}, {Opcode: Text, Length: 1, Payload: []byte("z")},
	}
	for _, size := range []int{1, 2, 7, 1000, len(stream)} {
		for _, keep := range []bool{true, false} {
			p, got := Parser{Keep: keep}, []Message(nil)
			for piece := range slices.Chunk([]byte(stream), size) {
				if err := p.Feed(piece, func(m *Message) {
					c := *m
					c.Payload = slices.Clone(m.Payload)
					got = append(got, c)
				}); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.EqualFunc(got, want, func(a, b Message) bool {
				return a.Opcode == b.Opcode && a.Length == b.Length && a.Compressed == b.Compressed && (!keep && len(a.Payload) == 0 || keep && bytes.Equal(a.Payload, b.Payload))
			}) {
				t.Errorf("in pieces of %d bytes: %d messages: %.200v", size, len(got), got)
			}
		}
	}
}

func TestParserReportsCloseFramesAndMasks(t *testing.T) {
	for stream, want := range map[string]string{"\x88\x02\x03\xe8": ErrClose.Error(), "\x81\x81abcdx": "masked"} {
		var p Parser
		if err := p.Feed([]byte(stream), func(*Message) { t.Error("a message") }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", stream, err)
		}
	}
	if err := new(Parser).Feed([]byte("\x88\x00"), nil); !errors.Is(err, ErrClose) {
		t.Error(err)
	}
}

// TestFramesAreMaskedAndHaveTheShortestLength as RFC 6455 section 5.2 requires of a client.
func TestFramesAreMaskedAndHaveTheShortestLength(t *testing.T) {
	for size, head := range map[int]string{0: "\x81\x80", 125: "\x81\xfd", 126: "\x81\xfe\x00\x7e", 65_535: "\x81\xfe\xff\xff", 65_536: "\x81\xff\x00\x00\x00\x00\x00\x01\x00\x00"} {
		message := bytes.Repeat([]byte("m"), size)
		frame := Frame(Text, message, false)
		rest, ok := bytes.CutPrefix(frame, []byte(head))
		if !ok || len(rest) != 4+size {
			t.Fatalf("%d bytes: %.20q", size, frame)
		}
		for i := range message {
			message[i] ^= rest[i%4]
		}
		if !bytes.Equal(message, rest[4:]) {
			t.Errorf("%d bytes: the payload is not masked with %q", size, rest[:4])
		}
	}
}

func TestCompressedMessagesAreInflated(t *testing.T) {
	message := bytes.Repeat([]byte("message "), 100)
	frame := Frame(Binary, message, true)
	payload := frame[6:]
	for i := range payload {
		payload[i] ^= frame[2+i%4]
	}
	if got, err := Inflate(payload); err != nil || !bytes.Equal(got, message) || frame[0] != 0xc2 || len(payload) > 100 {
		t.Errorf("%.20q has %d bytes, %v", frame, len(got), err)
	}
}
