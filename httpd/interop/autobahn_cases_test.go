package interop_test

import (
	"fmt"
	"slices"
	"strings"
)

// The cases of the Autobahn test suite (crossbario/autobahn-testsuite, Apache License 2.0) for servers, by its numbers. The inputs are facts of the suite; the
// expectations are stated as this server fulfils them. A case of the suite that has a pause waits for an answer here instead. Missing are:
//
//   - 9.1.4 to 9.1.6, 9.2.4 to 9.2.6, 9.3 and 9.4: messages of 4 to 16 MB, which measure throughput. 9.4.1 and 9.4.9 are run with a message of 1 MB.
//   - 9.7 and 9.8, round trips, 10.1.1, and 12 and 13, compression: TestAutobahnsClient runs them with another client.
//   - 9.9, which the suite itself does not run.

// How the frames of a case are written.
type chop uint8

const (
	atOnce chop = iota // in one write
	framewise
	octetwise
)

// An autobahnCase sends frames and requires what the server sends.
type autobahnCase struct {
	number string
	send   []string // frames, or await
	chop   chop
	want   []string // events: a close ends them. Without one, the client begins the close handshake with code 1000
}

// await is an entry of send that reads the next event.
const await = ""

// The first bytes of frames: FIN or not, and the operation code.
const (
	fin       = 0x80
	contFrame = 0x0
	textFrame = 0x1
	binFrame  = 0x2
	clsFrame  = 0x8
	pingFrame = 0x9
	pongFrame = 0xa
)

func text(s string) string   { return frame(fin|textFrame, s) }
func binary(s string) string { return frame(fin|binFrame, s) }
func ping(s string) string   { return frame(fin|pingFrame, s) }
func pong(s string) string   { return frame(fin|pongFrame, s) }
func closes(s string) string { return frame(fin|clsFrame, s) }

// first is a frame that begins a message and does not end it, next one that continues it, and last one that ends it.
func first(opcode byte, s string) string { return frame(opcode, s) }
func next(s string) string               { return frame(contFrame, s) }
func last(s string) string               { return frame(fin|contFrame, s) }

// code is the payload of a close frame.
func code(n int, reason string) string { return string([]byte{byte(n >> 8), byte(n)}) + reason }

// The closes with which the server fails a connection, and answers that of a client.
const (
	protocolError  = "close 1002"
	invalidPayload = "close 1007"
	normal         = "close 1000"
)

func say(s string) []string { return []string{"text " + s} }

// autobahnCases returns all cases.
func autobahnCases() []autobahnCase {
	return slices.Concat(framing(), pings(), reserved(), fragments(), utf8Cases(), failFast(), utf8Tables(), closing(), limits())
}

// framing is 1.*: messages of each length.
func framing() (all []autobahnCase) {
	for kind, event := range []string{"text ", "binary "} {
		for i, size := range []int{0, 125, 126, 127, 128, 65535, 65536} {
			s := strings.Repeat("*", size)
			f := text(s)
			if kind == 1 {
				s = strings.Repeat("\xfe", size)
				f = binary(s)
			}
			all = append(all, autobahnCase{number: fmt.Sprintf("1.%d.%d", kind+1, i+1), send: []string{f}, want: []string{event + s}})
			if size == 65536 { // and the same in pieces of 997 bytes
				var pieces []string
				for piece := range slices.Chunk([]byte(f), 997) {
					pieces = append(pieces, string(piece))
				}
				all = append(all, autobahnCase{number: fmt.Sprintf("1.%d.8", kind+1), send: pieces, chop: framewise, want: []string{event + s}})
			}
		}
	}
	return all
}

// pings is 2.*: each ping is answered by a pong with the same payload, and pongs by nothing.
func pings() []autobahnCase {
	long := strings.Repeat("\xfe", 125)
	var many, pongs []string
	for i := range 10 {
		many = append(many, ping(fmt.Sprintf("payload-%d", i)))
		pongs = append(pongs, fmt.Sprintf("pong payload-%d", i))
	}
	return []autobahnCase{
		{number: "2.1", send: []string{ping("")}, want: []string{"pong "}},
		{number: "2.2", send: []string{ping("Hello, world!")}, want: []string{"pong Hello, world!"}},
		{number: "2.3", send: []string{ping("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")}, want: []string{"pong \x00\xff\xfe\xfd\xfc\xfb\x00\xff"}},
		{number: "2.4", send: []string{ping(long)}, want: []string{"pong " + long}},
		{number: "2.5", send: []string{ping(long + "\xfe")}, want: []string{protocolError}},
		{number: "2.6", send: []string{ping(long)}, chop: octetwise, want: []string{"pong " + long}},
		{number: "2.7", send: []string{pong("")}},
		{number: "2.8", send: []string{pong("unsolicited pong payload")}},
		{number: "2.9", send: []string{pong("unsolicited pong payload"), ping("ping payload")}, want: []string{"pong ping payload"}},
		{number: "2.10", send: many, want: pongs},
		{number: "2.11", send: many, chop: octetwise, want: pongs},
	}
}

// reserved is 3.*, reserved bits without an extension, and 4.*, operation codes that have no meaning: what was sent before is answered.
func reserved() (all []autobahnCase) {
	const hello = "Hello, world!"
	rsv := func(bits byte, f string) string { return string([]byte{f[0] | bits<<4}) + f[1:] }
	all = []autobahnCase{
		{number: "3.1", send: []string{rsv(1, text(hello))}, want: []string{protocolError}},
		{number: "3.2", send: []string{text(hello), rsv(2, text(hello)), ping("")}, want: append(say(hello), protocolError)},
		{number: "3.3", send: []string{text(hello), rsv(3, text(hello)), ping("")}, chop: framewise, want: append(say(hello), protocolError)},
		{number: "3.4", send: []string{text(hello), rsv(4, text(hello)), ping("")}, chop: octetwise, want: append(say(hello), protocolError)},
		{number: "3.5", send: []string{rsv(5, binary("\x00\xff\xfe\xfd\xfc\xfb\x00\xff"))}, want: []string{protocolError}},
		{number: "3.6", send: []string{rsv(6, ping(hello))}, want: []string{protocolError}},
		{number: "3.7", send: []string{rsv(7, closes(""))}, want: []string{protocolError}},
	}
	for group, codes := range [][]byte{{3, 4, 5, 6, 7}, {11, 12, 13, 14, 15}} {
		for i, opcode := range codes {
			payload := ""
			if i == 1 || i > 2 {
				payload = "reserved opcode payload"
			}
			c := autobahnCase{number: fmt.Sprintf("4.%d.%d", group+1, i+1), send: []string{frame(fin|opcode, payload)}, want: []string{protocolError}}
			if i >= 2 {
				c.send, c.want = []string{text(hello), c.send[0], ping("")}, append(say(hello), protocolError)
			}
			if i == 4 {
				c.chop = octetwise
			}
			all = append(all, c)
		}
	}
	return all
}

// fragments is 5.*: messages in fragments, and control frames between them.
func fragments() (all []autobahnCase) {
	for i, kind := range []byte{pingFrame, pongFrame} { // a control frame cannot be fragmented
		all = append(all, autobahnCase{number: fmt.Sprintf("5.%d", i+1), send: []string{first(kind, "fragment1"), last("fragment2")}, want: []string{protocolError}})
	}
	two := []string{first(textFrame, "fragment1"), last("fragment2")}
	between := []string{two[0], ping("ping payload"), two[1]}
	nothing := []string{last("non-continuation payload"), text("Hello, world!")}
	unending := []string{next("non-continuation payload"), text("Hello, world!")}
	for i, way := range []chop{atOnce, framewise, octetwise} {
		all = append(all,
			autobahnCase{number: fmt.Sprintf("5.%d", i+3), send: two, chop: way, want: say("fragment1fragment2")},
			autobahnCase{number: fmt.Sprintf("5.%d", i+6), send: between, chop: way, want: append([]string{"pong ping payload"}, say("fragment1fragment2")...)},
			autobahnCase{number: fmt.Sprintf("5.%d", i+9), send: nothing, chop: way, want: []string{protocolError}},
			autobahnCase{number: fmt.Sprintf("5.%d", i+12), send: unending, chop: way, want: []string{protocolError}})
	}
	five := []string{first(textFrame, "fragment1"), next("fragment2"), ping("pongme 1!"), await, next("fragment3"), next("fragment4"), ping("pongme 2!"), await, last("fragment5")}
	answers := append([]string{"pong pongme 1!", "pong pongme 2!"}, say("fragment1fragment2fragment3fragment4fragment5")...)
	unawaited := slices.DeleteFunc(slices.Clone(five), func(s string) bool { return s == await })
	return append(all,
		autobahnCase{number: "5.15", send: append(slices.Clone(two), next("fragment3"), text("fragment4")), want: append(say("fragment1fragment2"), protocolError)},
		autobahnCase{number: "5.16", send: slices.Repeat([]string{next("fragment1"), first(textFrame, "fragment2"), last("fragment3")}, 2), want: []string{protocolError}},
		autobahnCase{number: "5.17", send: slices.Repeat([]string{last("fragment1"), first(textFrame, "fragment2"), last("fragment3")}, 2), want: []string{protocolError}},
		autobahnCase{number: "5.18", send: []string{first(textFrame, "fragment1"), text("fragment2")}, want: []string{protocolError}},
		autobahnCase{number: "5.19", send: five, chop: framewise, want: answers},
		autobahnCase{number: "5.20", send: unawaited, chop: framewise, want: answers},
	)
}

// kosme is a Greek word whose letters have two bytes, and the second one three.
const kosme = "\u03ba\u1f79\u03c3\u03bc\u03b5"

// utf8Cases is 6.1 to 6.3: text in fragments, also within a character.
func utf8Cases() []autobahnCase {
	const valid, invalid = "Hello-µ@ßöäüàá-UTF-8!!", kosme + "\xed\xa0\x80edited"
	return []autobahnCase{
		{number: "6.1.1", send: []string{text("")}, want: say("")},
		{number: "6.1.2", send: []string{first(textFrame, ""), next(""), last("")}, want: say("")},
		{number: "6.1.3", send: []string{first(textFrame, ""), next("middle frame payload"), last("")}, want: say("middle frame payload")},
		{number: "6.2.1", send: []string{text(valid)}, want: say(valid)},
		{number: "6.2.2", send: []string{first(textFrame, "Hello-µ@ßöä"), last("üàá-UTF-8!!")}, want: say(valid)},
		{number: "6.2.3", send: single(valid), want: say(valid)},
		{number: "6.2.4", send: single(kosme), want: say(kosme)},
		{number: "6.3.1", send: []string{text(invalid)}, want: []string{invalidPayload}},
		{number: "6.3.2", send: single(invalid), want: []string{invalidPayload}},
	}
}

// single is a text message in fragments of one byte, and an empty last one.
func single(s string) []string {
	all := []string{first(textFrame, s[:1])}
	for i := 1; i < len(s); i++ {
		all = append(all, next(s[i:i+1]))
	}
	return append(all, last(""))
}

// failFast is 6.4: text that becomes invalid before its end. RFC 6455 leaves open when the server notices it. Here a fragment that is complete fails the
// connection (6.4.1, 6.4.2), and one frame when it is complete: 6.4.3 and 6.4.4 are "non-strict" in the suite.
func failFast() []autobahnCase {
	part := func(s string) []string { return []string{first(textFrame, kosme), ping("1"), await, next(s)} }
	return []autobahnCase{
		{number: "6.4.1", send: part("\xf4\x90\x80\x80"), chop: framewise, want: []string{"pong 1", invalidPayload}},
		{number: "6.4.2", send: part("\xf4\x90"), chop: framewise, want: []string{"pong 1", invalidPayload}},
		{number: "6.4.3", send: []string{text(kosme + "\xf4\x90\x80\x80edited")}, chop: octetwise, want: []string{invalidPayload}},
		{number: "6.4.4", send: []string{text(kosme + "\xf4\x90")}, chop: octetwise, want: []string{invalidPayload}},
	}
}

// A utf8Table is one of 6.5 to 6.23. The texts are those of Markus Kuhn's UTF-8 decoder test.
type utf8Table struct {
	valid bool
	texts []string
}

// utf8Tables is 6.5 to 6.23: one text in a frame.
func utf8Tables() (all []autobahnCase) {
	add := func(group, i int, valid bool, s string) {
		c := autobahnCase{number: fmt.Sprintf("6.%d.%d", group, i), send: []string{text(s)}, want: []string{invalidPayload}}
		if valid {
			c.want = say(s)
		}
		all = append(all, c)
	}
	for i := range len(kosme) { // 6.6: all beginnings of a text
		add(6, i+1, slices.Contains([]int{1, 4, 6, 8, 10}, i), kosme[:i+1])
	}
	for group, tables := range utf8Texts {
		i := 1
		for _, table := range tables {
			for _, s := range table.texts {
				add(group, i, table.valid, s)
				i++
			}
		}
	}
	return all
}

// consecutive is the characters from low to high, each followed by sep.
func consecutive(low, high byte, sep string) string {
	var b strings.Builder
	for c := low; c < high; c++ {
		b.WriteByte(c)
		b.WriteString(sep)
	}
	return b.String()
}

// truncated is characters without their last byte.
var truncated = []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"}

// utf8Texts is the texts of 6.5 to 6.23, except 6.6.
var utf8Texts = map[int][]utf8Table{
	5:  {{true, []string{"hello$world", "hello¢world", "hello€world", "hello\U00024b62world", kosme}}},
	7:  {{true, []string{"\x00", "\u0080", "\u0800", "\U00010000"}}},
	8:  {{false, []string{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"}}},
	9:  {{true, []string{"\x7f", "\u07ff", "\uffff", "\U0010ffff"}}},
	10: {{false, []string{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"}}},
	11: {{true, []string{"\ud7ff", "\ue000", "\ufffd", "\U0010ffff"}}, {false, []string{"\xf4\x90\x80\x80"}}},
	12: {{false, []string{"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", consecutive(0x80, 0xbf, "")}}},
	13: {{false, []string{consecutive(0xc0, 0xdf, " "), consecutive(0xe0, 0xef, " "), consecutive(0xf0, 0xf7, " "), consecutive(0xf8, 0xfb, " "), consecutive(0xfc, 0xfd, " ")}}},
	14: {{false, truncated}},
	15: {{false, []string{strings.Join(truncated, "")}}},
	16: {{false, []string{"\xfe", "\xff", "\xfe\xfe\xff\xff"}}},
	17: {{false, []string{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"}}},
	18: {{false, []string{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"}}},
	19: {{false, []string{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"}}},
	20: {{false, []string{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"}}},
	21: {{false, []string{
		"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
		"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf",
	}}},
	22: {{true, nonCharacters()}},
	23: {{true, []string{"\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"}}},
}

// nonCharacters is the last two code points of each plane, which are no characters and are valid.
func nonCharacters() (all []string) {
	for plane := range rune(17) {
		all = append(all, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return all
}

// closing is 7.*: the close handshake, and codes that may not be sent.
func closing() (all []autobahnCase) {
	const hello = "Hello World!"
	ok := closes(code(1000, ""))
	large := strings.Repeat("BAsd7&jh23", 26215)[:256<<10]
	all = []autobahnCase{
		{number: "7.1.1", send: []string{text(hello)}, want: say(hello)},
		{number: "7.1.2", send: []string{ok, ok}, want: []string{normal}},
		{number: "7.1.3", send: []string{ok, ping("")}, want: []string{normal}},
		{number: "7.1.4", send: []string{ok, text(hello)}, want: []string{normal}},
		{number: "7.1.5", send: []string{first(textFrame, "fragment1"), ok, last("fragment2")}, want: []string{normal}},
		{number: "7.1.6", send: []string{text(large), text(hello), ok, ping("")}, want: []string{"text " + large, "text " + hello, normal}},
		{number: "7.3.1", send: []string{closes("")}, want: []string{"close"}},
		{number: "7.3.2", send: []string{closes("a")}, want: []string{protocolError}},
		{number: "7.3.3", send: []string{ok}, want: []string{normal}},
		{number: "7.3.4", send: []string{closes(code(1000, hello))}, want: []string{normal}},
		{number: "7.3.5", send: []string{closes(code(1000, strings.Repeat("*", 123)))}, want: []string{normal}},
		{number: "7.3.6", send: []string{closes(code(1000, strings.Repeat("*", 124)))}, want: []string{protocolError}},
		{number: "7.5.1", send: []string{closes(code(1000, kosme+"\xed\xa0\x80edited"))}, want: []string{invalidPayload}},
		{number: "7.13.1", send: []string{closes(code(5000, ""))}, want: []string{protocolError}},
		{number: "7.13.2", send: []string{closes("\x00\x01\x00\x00")}, want: []string{protocolError}},
	}
	for i, n := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		all = append(all, autobahnCase{number: fmt.Sprintf("7.7.%d", i+1), send: []string{closes(code(n, ""))}, want: []string{fmt.Sprint("close ", n)}})
	}
	for i, n := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		all = append(all, autobahnCase{number: fmt.Sprintf("7.9.%d", i+1), send: []string{closes(code(n, ""))}, want: []string{protocolError}})
	}
	return all
}

// limits is 9.*: large messages in one frame, in fragments, and in pieces.
func limits() (all []autobahnCase) {
	for kind, opcode := range []byte{textFrame, binFrame} {
		event := []string{"text ", "binary "}[kind]
		for i, size := range []int{64 << 10, 256 << 10, 1 << 20} {
			s := strings.Repeat("*", size)
			all = append(all, autobahnCase{number: fmt.Sprintf("9.%d.%d", kind+1, i+1), send: []string{frame(fin|opcode, s)}, want: []string{event + s}})
		}
		s := strings.Repeat("*", 1<<20)
		for number, size := range map[int]int{1: 64, 9: 1 << 20} {
			parts := []string{first(opcode, s[:size])}
			for at := size; at < len(s); at += size {
				parts = append(parts, next(s[at:at+size]))
			}
			all = append(all, autobahnCase{number: fmt.Sprintf("9.%d.%d", kind+3, number), send: append(parts, last("")), want: []string{event + s}})
		}
		for i, size := range []int{64, 128, 256, 512, 1024, 2048} {
			var pieces []string
			for piece := range slices.Chunk([]byte(frame(fin|opcode, s)), size) {
				pieces = append(pieces, string(piece))
			}
			all = append(all, autobahnCase{number: fmt.Sprintf("9.%d.%d", kind+5, i+1), send: pieces, chop: framewise, want: []string{event + s}})
		}
	}
	return all
}
