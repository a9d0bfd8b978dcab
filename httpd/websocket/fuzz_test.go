package websocket_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// fuzzLimit is the MaxMessage of FuzzFrames.
const fuzzLimit = 300

// An outcome is what a server that echoes sends for an input.
type outcome struct {
	messages []string // with the type
	pongs    []string
	code     int // of the close frame; 0 for none
}

// expected is a decoder that is as simple as possible: it has all of the input, and nothing is fast.
func expected(in []byte) (o outcome) {
	var kind byte
	var message string
	for {
		f, rest, code := cutFrame(in, kind != 0, len(message))
		if code != 0 || rest == nil {
			o.code = code
			return o
		}
		in = rest
		switch f.op {
		case opPing:
			o.pongs = append(o.pongs, f.payload)
		case opPong:
		case opClose:
			o.code = closeCode(f.payload)
			return o
		default:
			if f.op != opContinuation {
				kind = f.op
			}
			message += f.payload
			if kind == opText && !mayBegin(message) || f.final && kind == opText && !utf8.ValidString(message) {
				o.code = 1007
				return o
			}
			if f.final {
				o.messages = append(o.messages, fmt.Sprint(kind)+message)
				kind, message = 0, ""
			}
		}
	}
}

// mayBegin reports whether a text in UTF-8 may begin with s.
func mayBegin(s string) bool {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			return !utf8.FullRuneInString(s)
		}
		s = s[n:]
	}
	return true
}

// closeCode returns the code of the answer to a close frame.
func closeCode(p string) int {
	if p == "" {
		return 1005
	}
	if len(p) == 1 {
		return 1002
	}
	code := int(binary.BigEndian.Uint16([]byte(p)))
	if code < 1000 || code >= 1015 && code < 3000 || code >= 5000 || slices.Contains([]int{1004, 1005, 1006}, code) {
		return 1002
	}
	if !utf8.ValidString(p[2:]) {
		return 1007
	}
	return code
}

type cut struct {
	op      byte
	final   bool
	payload string
}

// cutFrame cuts the first frame off. It returns a nil rest if it is not complete, and a code if it is not valid.
func cutFrame(in []byte, within bool, length int) (f cut, rest []byte, code int) {
	if len(in) < 2 {
		return f, nil, 0
	}
	f.op, f.final = in[0]&15, in[0]&0x80 != 0
	n, at := uint64(in[1]&0x7f), 2
	least := uint64(0)
	if n >= 126 {
		at, least = 4, 126
		if n == 127 {
			at, least = 10, 1<<16
		}
	}
	if in[1]&0x80 != 0 {
		at += 4
	}
	if len(in) < at {
		return f, nil, 0
	}
	if least == 126 {
		n = uint64(binary.BigEndian.Uint16(in[2:]))
	} else if least > 0 {
		n = binary.BigEndian.Uint64(in[2:])
	}
	isControl := f.op >= 8
	switch {
	case n < least || n >= 1<<63, in[0]&0x70 != 0, in[1]&0x80 == 0, f.op > 2 && f.op < 8 || f.op > 10:
		return f, nil, 1002
	case isControl && (n > 125 || !f.final):
		return f, nil, 1002
	case !isControl && (f.op == opContinuation) != within:
		return f, nil, 1002
	case !isControl && uint64(length)+n > fuzzLimit:
		return f, nil, 1009
	case uint64(len(in)-at) < n:
		return f, nil, 0
	}
	mask := in[at-4 : at]
	payload := slices.Clone(in[at:][:n])
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	f.payload = string(payload)
	return f, in[at+int(n):], 0
}

// received reads all that the server sends.
func received(p *peer) (o outcome) {
	for {
		if _, err := p.r.Peek(1); err == io.EOF {
			return o
		}
		first, payload := p.next()
		switch first {
		case 0x80 | opPong:
			o.pongs = append(o.pongs, payload)
		case 0x80 | opClose:
			if o.code = 1005; payload != "" {
				o.code = int(binary.BigEndian.Uint16([]byte(payload)))
			}
			p.wantEnd()
			return o
		default:
			o.messages = append(o.messages, fmt.Sprint(first&15)+payload)
		}
	}
}

// The input is sent in two pieces, the first with the handshake, and then the stream is closed. The server sends what the simple decoder expects.
func FuzzFrames(f *testing.F) {
	for _, v := range violations {
		if len(v.input) < 1000 {
			f.Add(v.input, uint16(len(v.input)/2))
		}
	}
	f.Add(seq(text("one"), frame(opText, "t"), frame(0x80|opPing, "p"), frame(0, "w"), frame(0x80, "o"), frame(0x80|opClose, closing(1000, "bye")), text("x")), uint16(9))
	f.Add(seq(frame(0x80|opBinary, strings.Repeat("x", fuzzLimit)), frame(0x80|opClose, "")), uint16(200))
	s := start(f, &websocket.Config{Message: echo, MaxMessage: fuzzLimit, Closed: func(*websocket.Conn, *websocket.CloseError) {}})
	f.Fuzz(func(t *testing.T, in []byte, at uint16) {
		if len(in) > 4<<10 {
			return
		}
		cut := min(int(at), len(in))
		p := s.dial(t, "", in[:cut])
		defer func() { testkit.Must(t, p.Close()) }()
		if _, err := p.Write(in[cut:]); err == nil { // it may have found a violation before
			_ = p.Conn.(*net.TCPConn).CloseWrite() // as above
		}
		got, want := received(p), expected(in)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	})
}
