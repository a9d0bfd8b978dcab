package framing

import "bytes"

// Delimiter ends a message with delim, which is not part of it: one byte or more, copied. What is left without one at the end of the
// stream is io.ErrUnexpectedEOF. No message is longer than limit bytes, the delimiter not counted; 0 means DefaultMax.
// Any goroutine.
func Delimiter(delim []byte, limit int) Framing {
	if len(delim) == 0 || len(delim) > LargestMax/2 {
		return badValue("delimiter", "delimiter of %d bytes", len(delim))
	}
	return limited("delimiter", limit, func(limit int) Framing { return &delimiter{bytes.Clone(delim), limit} })
}

type delimiter struct {
	delim []byte
	limit int
}

func (f *delimiter) MaxLen() int { return f.limit + len(f.delim) }

func (f *delimiter) Next(data []byte, place int, atEOF bool) (n int, message []byte, next int, err error) {
	window := data[:min(len(data), f.MaxLen())]
	if i := bytes.Index(window[place:], f.delim); i >= 0 {
		i += place
		return i + len(f.delim), data[:i:i], 0, nil
	}
	if !f.canFit(data) {
		return 0, nil, 0, tooLong("delimiter", f.limit)
	}
	// What data end with may be the delimiter's beginning.
	return incomplete("delimiter", data, max(0, len(data)-len(f.delim)+1), atEOF)
}

// canFit reports whether data, without a delimiter, can go on so that their message is not too long: those beyond the limit have to
// be the beginning of a delimiter.
func (f *delimiter) canFit(data []byte) bool {
	if len(data) <= f.limit {
		return true
	}
	for begun := min(len(data), len(f.delim)-1); len(data)-begun <= f.limit; begun-- {
		if bytes.HasSuffix(data, f.delim[:begun]) {
			return true
		}
	}
	return false
}
