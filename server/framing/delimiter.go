package framing

import "bytes"

// Delimiter ends a message with a delimiter, which is not part of it. Bytes without a delimiter at the end of the stream are io.ErrUnexpectedEOF.
type Delimiter struct {
	// Delim is the delimiter, one byte or more. It must not be changed while the Framing is in use. Required.
	Delim []byte
	// Max is the length of the longest message in bytes, the delimiter not counted. 0 means DefaultMax; LargestMax is the most. A negative
	// value is ErrInvalid.
	Max int
}

// Check reports invalid fields. Errors: ErrInvalid. Any goroutine.
func (f Delimiter) Check() error {
	if f.invalidDelim() {
		return invalid("delimiter", "Delim is empty")
	}
	return checkMax("delimiter", f.Max)
}

func (f Delimiter) invalidDelim() bool { return len(f.Delim) == 0 || len(f.Delim) > LargestMax/2 }

// MaxLen returns Max plus the length of the delimiter. Any goroutine.
func (f Delimiter) MaxLen() int { return limit(f.Max) + len(f.Delim) }

// Next implements Framing. Any goroutine.
func (f Delimiter) Next(data []byte, cursor int, atEOF bool) (Result, error) {
	most := limit(f.Max)
	if most == 0 || f.invalidDelim() {
		return Result{}, f.Check()
	}
	window := data[:min(len(data), most+len(f.Delim))]
	if i := bytes.Index(window[cursor:], f.Delim); i >= 0 {
		i += cursor
		return Result{Message: data[:i:i], Advance: i + len(f.Delim)}, nil
	}
	if !f.canFit(data, most) {
		return Result{}, tooLong("delimiter", most)
	}
	// The end of data may be the beginning of a delimiter.
	return incomplete("delimiter", data, max(0, len(data)-len(f.Delim)+1), atEOF)
}

// canFit reports whether data, without a delimiter, can become a message that is not too long: the bytes beyond the limit must be the
// beginning of a delimiter.
func (f Delimiter) canFit(data []byte, most int) bool {
	if len(data) <= most {
		return true
	}
	for begun := min(len(data), len(f.Delim)-1); len(data)-begun <= most; begun-- {
		if bytes.HasSuffix(data, f.Delim[:begun]) {
			return true
		}
	}
	return false
}
