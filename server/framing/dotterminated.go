package framing

import "bytes"

// DotTerminated ends a message with a line that is a single dot, as SMTP's DATA does: with CRLF . CRLF, of which the first CRLF is
// the end of the message's last line and part of it. A message without lines is the line with the dot alone.
//
// Only CRLF ends a line. A bare CR or LF is a byte like any other, so that LF . LF, or what else mail servers have taken for the
// end, smuggles nothing past this one. But such bytes are in the message then: do not hand it on to others as it is, before you
// have refused or replaced them.
//
// The message is as it was sent; [Unstuff] takes away the dots that were put before others. It is no longer than limit bytes in that
// form; 0 means DefaultMax. A message without its end at the end of the stream is io.ErrUnexpectedEOF. Any goroutine.
func DotTerminated(limit int) Framing {
	return limited("dot-terminated", limit, func(limit int) Framing { return &dotTerminated{limit} })
}

type dotTerminated struct{ limit int }

var (
	crlf    = []byte("\r\n")
	dotLine = []byte(".\r\n")
	dotEnd  = []byte("\r\n.\r\n")
)

func (f *dotTerminated) MaxLen() int { return f.limit + len(dotLine) }

func (f *dotTerminated) Next(data []byte, place int, atEOF bool) (n int, message []byte, next int, err error) {
	if bytes.HasPrefix(data, dotLine) {
		return len(dotLine), data[:0:0], 0, nil
	}
	window := data[:min(len(data), f.MaxLen())]
	if i := bytes.Index(window[place:], dotEnd); i >= 0 {
		i += place + len(crlf)
		return i + len(dotLine), data[:i:i], 0, nil
	}
	if shortest(data) > f.limit {
		return 0, nil, 0, tooLong("dot-terminated", f.limit)
	}
	return incomplete("dot-terminated", data, max(0, len(data)-len(dotEnd)+1), atEOF)
}

// shortest is the length of the shortest message that begins with data, whose end is missing. The end may have begun.
func shortest(data []byte) int {
	for begun := len(dotLine) - 1; begun >= 0; begun-- {
		if text, ok := bytes.CutSuffix(data, dotLine[:begun]); ok && (len(text) == 0 || bytes.HasSuffix(text, crlf)) {
			return len(text)
		}
	}
	if bytes.HasSuffix(data, cr) {
		return len(data) + len(crlf) - 1
	}
	return len(data) + len(crlf)
}

// Unstuff appends msg to dst without the dot that each line beginning with one has in front. dst may be msg[:0]: then msg
// is changed in its place. Only CRLF ends a line. Any goroutine.
func Unstuff(dst, msg []byte) []byte {
	for len(msg) > 0 {
		line := firstLine(msg)
		msg = msg[len(line):]
		if line[0] == '.' {
			line = line[1:]
		}
		dst = append(dst, line...)
	}
	return dst
}

// AppendDotTerminated appends msg to dst as DotTerminated takes it: with another dot in front of each line that begins with one, with
// CRLF if msg has lines and does not end so, and with the line that is a dot. Only CRLF ends a line: a bare CR or LF in msg goes
// out as it is, and is for the caller to avoid. dst must not overlap msg. Any goroutine.
func AppendDotTerminated(dst, msg []byte) []byte {
	for rest := msg; len(rest) > 0; {
		line := firstLine(rest)
		rest = rest[len(line):]
		if line[0] == '.' {
			dst = append(dst, '.')
		}
		dst = append(dst, line...)
	}
	if len(msg) > 0 && !bytes.HasSuffix(msg, crlf) {
		dst = append(dst, crlf...)
	}
	return append(dst, dotLine...)
}

// firstLine is the first line of text, with its CRLF if it has one.
func firstLine(text []byte) []byte {
	if i := bytes.Index(text, crlf); i >= 0 {
		return text[:i+len(crlf)]
	}
	return text
}
