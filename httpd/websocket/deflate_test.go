package websocket_test

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

const (
	deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	bitDeflate   = 0x40 // RSV1
)

// deflated returns s as a compressed message, made by the standard library.
func deflated(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	testkit.Must(t, err)
	_, err = io.WriteString(w, s)
	testkit.Must(t, err)
	testkit.Must(t, w.Flush())
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// inflated reads a compressed message with the standard library.
func inflated(t testing.TB, p string) string {
	t.Helper()
	got, err := io.ReadAll(flate.NewReader(strings.NewReader(p + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	testkit.Must(t, err)
	return string(got)
}

// Long messages are compressed in both directions, also in fragments, and short ones are not.
func TestMessagesAreCompressed(t *testing.T) {
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Message: echo, Deflate: true, Placement: placement})
		p := s.dial(t, deflateOffer)
		for _, m := range []string{hello, strings.Repeat("x", 1<<20), strings.Repeat("ä€", 1000)} {
			d := deflated(t, m)
			p.send(frame(0x80|bitDeflate|opText, d))
			first, got := p.next()
			if first != 0x80|bitDeflate|opText || inflated(t, got) != m || len(got) > len(m)/2 {
				t.Errorf("the answer is %x, %d bytes for %d", first, len(got), len(m))
			}
			p.send(frame(bitDeflate|opBinary, d[:3]), frame(0x80|opPing, ""), frame(0, d[3:10]), frame(0x80, d[10:]))
			p.want(0x80|opPong, "")
			if first, got = p.next(); first != 0x80|bitDeflate|opBinary || inflated(t, got) != m {
				t.Errorf("the answer is %x, %d bytes for %d", first, len(got), len(m))
			}
		}
		p.send(frame(0x80|bitDeflate|opText, deflated(t, "short")), frame(0x80|opText, "not compressed"), frame(0x80|bitDeflate|opText, deflated(t, "")))
		p.want(0x80|opText, "short")
		p.want(0x80|opText, "not compressed")
		p.want(0x80|opText, "")
		random := make([]byte, 1000)
		for i := range random {
			random[i] = byte(rand.Uint32())
		}
		p.send(frame(0x80|opBinary, string(random)))
		p.want(0x80|opBinary, string(random)) // it would be longer
	})
}

func TestPermessageDeflateIsNegotiated(t *testing.T) {
	const accepted = "permessage-deflate;server_no_context_takeover;client_no_context_takeover"
	s := start(t, &websocket.Config{Message: echo, Deflate: true})
	without := start(t, &websocket.Config{Message: echo})
	for _, test := range [][2]string{
		{"permessage-deflate", accepted},
		{"permessage-deflate; client_max_window_bits", accepted},
		{"permessage-deflate; client_max_window_bits=10; client_no_context_takeover; server_no_context_takeover", accepted},
		{"permessage-deflate; server_max_window_bits=15", accepted + ";server_max_window_bits=15"},
		{"permessage-deflate; server_max_window_bits=10", ""},
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", accepted},
		{"permessage-deflate; server_max_window_bits", ""},
		{"permessage-deflate; server_max_window_bits=16", ""},
		{"permessage-deflate; client_max_window_bits=7", ""},
		{"permessage-deflate; unknown", ""},
		{"permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
		{"permessage-deflate; server_no_context_takeover=1", ""},
		{"x-webkit-deflate-frame, permessage-deflate", accepted},
		{"other", ""},
		{"permessage-deflate; =", ""},
		{"", ""},
	} {
		for _, site := range []*site{s, without} {
			p := site.connect(t)
			p.send([]byte(handshake + "Sec-WebSocket-Extensions: " + test[0] + "\r\n\r\n"))
			want := test[1]
			if site == without {
				want = ""
			}
			if got := strings.ReplaceAll(p.accepted().Get("Sec-Websocket-Extensions"), " ", ""); got != want {
				t.Errorf("the answer to %q is %q, want %q", test[0], got, want)
			}
		}
	}
}

// Each breaks a rule of the extension.
func TestEachViolationOfPermessageDeflateHasItsCloseCode(t *testing.T) {
	s := start(t, &websocket.Config{Deflate: true, MaxMessage: maxMessage, Message: func(websocket.Reply, websocket.MessageType, []byte) {}})
	bomb := deflated(t, strings.Repeat("\x00", 100*maxMessage))
	for name, test := range map[string]struct {
		input []byte
		code  int
	}{
		"RSV1 in a ping":                    {frame(0x80|bitDeflate|opPing, "x"), 1002},
		"RSV1 in a continuation":            {seq(frame(bitDeflate|opText, "x"), frame(0x80|bitDeflate, "y")), 1002},
		"RSV2 with RSV1":                    {frame(0x80|bitDeflate|0x20|opText, "x"), 1002},
		"RSV2":                              {frame(0x80|0x20|opText, "x"), 1002},
		"no DEFLATE":                        {frame(0x80|bitDeflate|opText, "\xff\xff\xff"), 1007},
		"a stream that is cut":              {frame(0x80|bitDeflate|opText, deflated(t, hello)[:20]), 1007},
		"a distance before the beginning":   {frame(0x80|bitDeflate|opText, "\x03\xff\x7f"), 1007},
		"text that is not UTF-8":            {frame(0x80|bitDeflate|opText, deflated(t, "a\xff")), 1007},
		"a bomb":                            {frame(0x80|bitDeflate|opBinary, bomb), 1009},
		"one byte above the limit":          {frame(0x80|bitDeflate|opBinary, deflated(t, strings.Repeat("x", maxMessage+1))), 1009},
		"a bomb in fragments":               {seq(frame(bitDeflate|opBinary, bomb[:100]), frame(0x80, bomb[100:])), 1009},
		"above the limit without any gains": {header(0x80|bitDeflate|opBinary, 8, maxMessage+1), 1009},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.dial(t, deflateOffer)
			p.send(test.input)
			p.violates(s, test.code)
		})
	}
	p := s.dial(t, deflateOffer) // at the limit
	p.send(frame(0x80|bitDeflate|opBinary, deflated(t, strings.Repeat("x", maxMessage))), frame(0x80|opPing, "fine"))
	p.want(0x80|opPong, "fine")
}

// A message of 100 KB or more that expands a thousandfold.
func TestABombTakesNoMoreThanTheLimit(t *testing.T) {
	const limit = 1 << 20
	s := start(t, &websocket.Config{Message: echo, Deflate: true, MaxMessage: limit})
	bomb := deflated(t, strings.Repeat("\x00", 100<<20))
	p := s.dial(t, deflateOffer)
	var before, after runtime.MemStats
	input := frame(0x80|bitDeflate|opBinary, bomb)
	runtime.ReadMemStats(&before)
	p.send(input)
	p.wantClose(1009)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 6*limit {
		t.Errorf("%d bytes were allocated for a message of %d", got, len(bomb))
	}
}

// The writers and readers of package flate are used again.
func TestACompressedEchoDoesNotAllocate(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("in race builds sync.Pool loses objects at random")
	}
	s := start(t, &websocket.Config{Message: echo, Deflate: true})
	p := s.dial(t, deflateOffer)
	out := frame(0x80|bitDeflate|opText, deflated(t, hello))
	p.send(out)
	_, payload := p.next()
	in := make([]byte, len(unmasked(0, payload)))
	trip := func() {
		if _, err := p.Write(out); err != nil {
			t.Fatal(err)
		}
		p.read(in)
	}
	for range 100 {
		trip()
	}
	if n := testing.AllocsPerRun(1000, trip); n > 0 {
		t.Errorf("%.2f allocations", n)
	}
}

// Incomplete messages of all WebSockets together have a limit.
func TestFragmentsAreLimited(t *testing.T) {
	s := start(t, &websocket.Config{Message: echo, MaxFragments: 1 << 20})
	var peers []*peer
	for range 3 {
		p := s.dial(t, "")
		p.send(frame(opBinary, strings.Repeat("x", 300_000)), frame(0x80|opPing, ""))
		p.want(0x80|opPong, "")
		peers = append(peers, p)
	}
	p := s.dial(t, "")
	p.send(frame(opBinary, strings.Repeat("x", 300_000)))
	p.wantClose(1013)
	for _, p := range peers {
		p.send(frame(0x80, "end"))
		_, got := p.next()
		testkit.WantEqual(t, "length", len(got), 300_003)
	}
	testkit.Must(t, p.Close())
	testkit.Until(t, "no bytes to be counted", func() bool { return s.handler.Stats().FragmentBytes == 0 })
}
