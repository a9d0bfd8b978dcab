package websocket_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/server"
)

// maxMessage is the limit of the tests of the protocol.
const maxMessage = 100_000

// header returns the header of a masked frame with a length in a given form: 0, 2 or 8 bytes after the second.
func header(first byte, form int, length uint64) []byte {
	var b []byte
	switch form {
	case 0:
		b = []byte{first, 0x80 | byte(length)}
	case 2:
		b = binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(length))
	default:
		b = binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, length)
	}
	return append(b, 0, 0, 0, 0)
}

func seq(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// violations are inputs that break a rule of RFC 6455, by section, and the code that the connection is closed with.
var violations = []struct {
	name  string
	input []byte
	code  int
}{
	{"5.1 a frame of a client without a mask", unmasked(0x80|opText, "x"), 1002},
	{"5.1 a ping without a mask", unmasked(0x80|opPing, ""), 1002},
	{"5.2 RSV1 without an extension", frame(0xc0|opText, "x"), 1002},
	{"5.2 RSV2", frame(0xa0|opText, "x"), 1002},
	{"5.2 RSV3", frame(0x90|opText, "x"), 1002},
	{"5.2 RSV3 in a ping", frame(0x90|opPing, "x"), 1002},
	{"5.2 RSV1 in a continuation", seq(frame(opText, "x"), frame(0xc0, "y")), 1002},
	{"5.2 opcode 3", frame(0x80|3, "x"), 1002},
	{"5.2 opcode 7", frame(0x80|7, "x"), 1002},
	{"5.2 opcode 11", frame(0x80|11, "x"), 1002},
	{"5.2 opcode 15", frame(0x80|15, "x"), 1002},
	{"5.2 length below 126 in two bytes", header(0x80|opText, 2, 125), 1002},
	{"5.2 length below 65536 in eight bytes", header(0x80|opText, 8, 65535), 1002},
	{"5.2 length 0 in eight bytes", header(0x80|opText, 8, 0), 1002},
	{"5.2 length with the highest bit", header(0x80|opText, 8, 1<<63), 1002},
	{"5.4 continuation without a beginning", frame(0x80|opContinuation, "x"), 1002},
	{"5.4 continuation that is not final without a beginning", frame(opContinuation, "x"), 1002},
	{"5.4 continuation after the end", seq(frame(opText, "x"), frame(0x80, "y"), frame(0x80, "z")), 1002},
	{"5.4 text within a message", seq(frame(opText, "x"), frame(0x80|opText, "y")), 1002},
	{"5.4 beginning within a message", seq(frame(opBinary, "x"), frame(opBinary, "y")), 1002},
	{"5.5 ping of 126 bytes", frame(0x80|opPing, strings.Repeat("x", 126)), 1002},
	{"5.5 close of 126 bytes", frame(0x80|opClose, closing(1000, strings.Repeat("x", 124))), 1002},
	{"5.5 ping with a length of two bytes", header(0x80|opPing, 2, 10), 1002},
	{"5.5 ping in fragments", frame(opPing, "x"), 1002},
	{"5.5 pong in fragments", frame(opPong, "x"), 1002},
	{"5.5 close in fragments", frame(opClose, ""), 1002},
	{"5.5.1 close with half a code", frame(0x80|opClose, "\x03"), 1002},
	{"5.5.1 close with a reason that is not UTF-8", frame(0x80|opClose, closing(1000, "\xff")), 1007},
	{"7.4.1 code 1004", frame(0x80|opClose, closing(1004, "")), 1002},
	{"7.4.1 code 1005", frame(0x80|opClose, closing(1005, "")), 1002},
	{"7.4.1 code 1006", frame(0x80|opClose, closing(1006, "")), 1002},
	{"7.4.1 code 1015", frame(0x80|opClose, closing(1015, "")), 1002},
	{"7.4.2 code 0", frame(0x80|opClose, closing(0, "")), 1002},
	{"7.4.2 code 999", frame(0x80|opClose, closing(999, "")), 1002},
	{"7.4.2 code 1016", frame(0x80|opClose, closing(1016, "")), 1002},
	{"7.4.2 code 1100", frame(0x80|opClose, closing(1100, "")), 1002},
	{"7.4.2 code 2000", frame(0x80|opClose, closing(2000, "")), 1002},
	{"7.4.2 code 2999", frame(0x80|opClose, closing(2999, "")), 1002},
	{"7.4.2 code 5000", frame(0x80|opClose, closing(5000, "")), 1002},
	{"7.4.2 code 65535", frame(0x80|opClose, closing(65535, "")), 1002},
	{"8.1 text that is not UTF-8", text("a\xffb"), 1007},
	{"8.1 text that ends within a character", text("a\xe2\x82"), 1007},
	{"8.1 text with a surrogate", text("\xed\xa0\x80"), 1007},
	{"8.1 text with an overlong character", text("\xc0\xaf"), 1007},
	{"8.1 text with a character above U+10FFFF", text("\xf4\x90\x80\x80"), 1007},
	{"8.1 first fragment that is not UTF-8", frame(opText, "ok\xff"), 1007},
	{"8.1 later fragment that does not complete a character", seq(frame(opText, "\xe2\x82"), frame(opContinuation, "x")), 1007},
	{"8.1 last fragment that ends within a character", seq(frame(opText, "ok"), frame(0x80, "\xf0\x9d")), 1007},
	{"10.4 message above the limit", header(0x80|opBinary, 8, maxMessage+1), 1009},
	{"10.4 message far above the limit", header(0x80|opBinary, 8, 1<<62), 1009},
	{"10.4 fragments above the limit", seq(frame(opBinary, strings.Repeat("x", maxMessage)), frame(0x80, "x")), 1009},
	{"10.4 first fragment above the limit", header(opText, 8, maxMessage+1), 1009},
}

// Each violation is found if the bytes arrive in one piece and if they arrive one at a time, and after a message.
func TestEachViolationHasItsCloseCode(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{MaxMessage: maxMessage, Placement: placement, Message: func(w websocket.Reply, typ websocket.MessageType, p []byte) {
			if string(p) == "before" {
				echo(w, typ, p)
			}
		}})
		for _, v := range violations {
			t.Run(v.name, func(t *testing.T) {
				p := s.dial(t, "")
				p.send(v.input)
				p.violates(s, v.code)

				p = s.dial(t, "", text("before"), v.input)
				p.want(0x80|opText, "before")
				p.violates(s, v.code)

				if len(v.input) > 1000 {
					return
				}
				p = s.dial(t, "")
				for _, b := range v.input {
					if _, err := p.Write([]byte{b}); err != nil { // the server may have found it before the last byte
						break
					}
				}
				p.violates(s, v.code)
			})
		}
	})
}

// violates reads the close frame of a connection whose peer has broken a rule.
func (p *peer) violates(s *site, code int) {
	p.t.Helper()
	p.wantClose(code)
	_ = p.Close() // it was read to its end
	if e := s.ended(p.t); int(e.Code) != code || e.ByPeer || e.Err != nil {
		p.t.Errorf("Closed was called with %v", e)
	}
}

// These texts are valid, however they are cut.
func TestTextMayBeCutWithinCharacters(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo})
	p := s.dial(t, "")
	const m = "κόσμε €𝄞 \U0010ffff \u0000 end"
	for i := range len(m) + 1 {
		for _, j := range []int{i, (i + len(m)) / 2, len(m)} {
			p.send(frame(opText, m[:i]), frame(opContinuation, m[i:j]), frame(0x80, m[j:]))
			p.want(0x80|opText, m)
		}
	}
}

// A binary message may have any bytes, and empty fragments are permitted.
func TestFragmentsOfAnyLengthAreJoined(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Message: echo, Placement: placement})
		p := s.dial(t, "")
		p.send(frame(opBinary, ""), frame(0, "\xff"), frame(0, ""), frame(0, strings.Repeat("\xfe", 70_000)), frame(0x80, ""))
		p.want(0x80|opBinary, "\xff"+strings.Repeat("\xfe", 70_000))
		p.send(frame(opText, ""), frame(0x80, ""))
		p.want(0x80|opText, "")
	})
}
