package framing

import "bytes"

// Lines ends a message with \n, and drops one \r before it, as bufio.ScanLines does. At the end of the stream what is left is
// a message, too. No line is longer than limit bytes, its end not counted; 0 means DefaultMax. Any goroutine.
func Lines(limit int) Framing {
	return limited("lines", limit, func(limit int) Framing { return &lines{limit} })
}

type lines struct{ limit int }

// MaxLen counts \r\n, too.
func (f *lines) MaxLen() int { return f.limit + 2 }

func (f *lines) Next(data []byte, place int, atEOF bool) (n int, message []byte, next int, err error) {
	line := data
	window := data[:min(len(data), f.MaxLen())]
	if i := bytes.IndexByte(window[place:], '\n'); i >= 0 {
		line, n = data[:place+i], place+i+1
	} else if atEOF {
		n = len(data)
	}
	// Of an incomplete line, too, a last \r may not belong to the message.
	line = bytes.TrimSuffix(line, cr)
	if len(line) > f.limit {
		return 0, nil, 0, tooLong("lines", f.limit)
	}
	if n == 0 {
		return 0, nil, len(data), nil
	}
	return n, line[:len(line):len(line)], 0, nil
}

var cr = []byte("\r")
