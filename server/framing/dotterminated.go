package framing

import "bytes"

// DotTerminated ends a message with a line that is a single dot, as SMTP's DATA does: with CRLF . CRLF, of which the first CRLF is
// the end of the message's last line and part of it. A message without lines is the line with the dot alone.
//
// Only CRLF ends a line. A bare CR or LF is a byte like any other, so that LF . LF, and other sequences that some mail servers treat as the
// end, do not end a message here. Such bytes are part of the message: a program that passes it on to other servers must refuse or replace
// them.
//
// The message is as it was sent; [Unstuff] removes the dots that the sender has added. An incomplete message at the end of the stream is
// io.ErrUnexpectedEOF.
type DotTerminated struct {
	// Max is the length of the longest message in bytes, in the form in which it was sent, without the line with the dot. 0 means DefaultMax;
	// LargestMax is the most. A negative value is ErrInvalid.
	Max int
}

var (
	crlf    = []byte("\r\n")
	dotLine = []byte(".\r\n")
	dotEnd  = []byte("\r\n.\r\n")
)

// Check reports invalid fields. Errors: ErrInvalid. Any goroutine.
func (f DotTerminated) Check() error { return checkMax("dot-terminated", f.Max) }

// MaxLen returns Max plus the length of the line with the dot. Any goroutine.
func (f DotTerminated) MaxLen() int { return limit(f.Max) + len(dotLine) }

// Next implements Framing. Any goroutine.
func (f DotTerminated) Next(data []byte, cursor int, atEOF bool) (Result, error) {
	most := limit(f.Max)
	if most == 0 {
		return Result{}, f.Check()
	}
	if bytes.HasPrefix(data, dotLine) {
		return Result{Message: data[:0:0], Advance: len(dotLine)}, nil
	}
	window := data[:min(len(data), most+len(dotLine))]
	if i := bytes.Index(window[cursor:], dotEnd); i >= 0 {
		i += cursor + len(crlf)
		return Result{Message: data[:i:i], Advance: i + len(dotLine)}, nil
	}
	if shortest(data) > most {
		return Result{}, tooLong("dot-terminated", most)
	}
	return incomplete("dot-terminated", data, max(0, len(data)-len(dotEnd)+1), atEOF)
}

// shortest returns the length of the shortest message that begins with data, which has no complete end.
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

// Unstuff appends msg to dst without the dot that each line beginning with one has in front. dst may be msg[:0]: then msg is changed in
// place. Only CRLF ends a line. Any goroutine.
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

// AppendDotTerminated appends msg to dst in the form that DotTerminated reads: with another dot in front of each line that begins with one,
// with CRLF if msg has lines and does not end so, and with the line that is a dot. Only CRLF ends a line: a bare CR or LF in msg is not
// changed, and the caller must avoid it. dst must not overlap msg. Any goroutine.
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

// firstLine returns the first line of text, with its CRLF if it has one.
func firstLine(text []byte) []byte {
	if i := bytes.Index(text, crlf); i >= 0 {
		return text[:i+len(crlf)]
	}
	return text
}
