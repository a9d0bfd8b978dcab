package framing

import "bytes"

// Lines ends a message with \n, and drops one \r before it, as bufio.ScanLines does. At the end of the stream the bytes that are left are a
// message, too.
type Lines struct {
	// Max is the length of the longest line in bytes, its end not counted. 0 means DefaultMax; LargestMax is the most. A negative value is
	// ErrInvalid.
	Max int
}

// Check reports invalid fields. Errors: ErrInvalid. Any goroutine.
func (f Lines) Check() error { return checkMax("lines", f.Max) }

// MaxLen returns Max plus the length of \r\n. Any goroutine.
func (f Lines) MaxLen() int { return limit(f.Max) + 2 }

// Next implements Framing. Any goroutine.
func (f Lines) Next(data []byte, cursor int, atEOF bool) (Result, error) {
	most := limit(f.Max)
	if most == 0 {
		return Result{}, f.Check()
	}
	line, n := data, 0
	window := data[:min(len(data), most+2)]
	if i := bytes.IndexByte(window[cursor:], '\n'); i >= 0 {
		line, n = data[:cursor+i], cursor+i+1
	} else if atEOF {
		n = len(data)
	}
	// A last \r of an incomplete line, too, may not belong to the message.
	line = bytes.TrimSuffix(line, cr)
	if len(line) > most {
		return Result{}, tooLong("lines", most)
	}
	if n == 0 {
		return Result{Cursor: len(data)}, nil
	}
	return Result{Message: line[:len(line):len(line)], Advance: n}, nil
}

var cr = []byte("\r")
