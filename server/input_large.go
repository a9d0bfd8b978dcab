package server

import "sync"

// A largeBuffer has the size of a read. The loop reads into one. When it has read much that is not answered at once, the input gets the
// buffer, and the loop another one: copying costs more, and an allocation for each large request costs most.
type largeBuffer [readSize]byte

var largeBuffers = sync.Pool{New: func() any { return new(largeBuffer) }}

// takeLarge returns a buffer of readSize bytes.
func takeLarge() []byte { return largeBuffers.Get().(*largeBuffer)[:] }

// isLarge reports whether p has the memory of a largeBuffer.
func isLarge(p []byte) bool { return cap(p) == readSize }

// giveLarge takes a buffer from takeLarge back.
func giveLarge(p []byte) { largeBuffers.Put((*largeBuffer)(p[:readSize])) }

const (
	// largeRequest is the size above which a request gets the loop's buffer.
	largeRequest = maxKept
	// largeRest is the size above which an incomplete request gets it. It is larger, because an incomplete request may keep it for long.
	largeRest = readSize / 2
)

// fill makes p, which was read and is not consumed, the content of an unused input. If p is longer than large and in the loop's buffer, the
// input gets this buffer.
func (in *input) fill(l *loop, p []byte, large int) {
	if len(p) > large {
		if at, ok := offsetIn(l.buf, p); ok {
			in.small = in.buf
			in.buf, l.buf = l.buf[:at+len(p)], takeLarge()
			return
		}
	}
	in.buf = append(in.buf[:0], p...)
}

// add appends p, which was read later, to the input.
func (in *input) add(p []byte) {
	if !isLarge(in.buf) || len(in.buf)+len(p) <= readSize {
		in.buf = append(in.buf, p...)
		return
	}
	large, rest := in.buf, in.rest()
	if len(rest)+len(p) <= readSize {
		n := copy(large, rest)
		in.buf = large[:n+copy(large[n:readSize], p)]
	} else {
		in.buf = append(append(make([]byte, 0, 2*readSize), rest...), p...)
		giveLarge(large)
	}
	in.pos = 0
}

// shrink empties the buffer of an input, and keeps it only if it is small.
func (in *input) shrink() {
	if isLarge(in.buf) {
		giveLarge(in.buf)
		in.buf, in.small = in.small, nil
	} else if cap(in.buf) > maxKept {
		in.buf = nil
	}
	in.buf = in.buf[:0]
}

// compact removes the consumed bytes if they are more than half of the buffer, and gives a large buffer back if little is left.
func (in *input) compact() {
	rest := in.rest()
	if in.pos <= len(in.buf)/2 {
		return
	}
	if isLarge(in.buf) && len(rest) <= maxKept {
		in.small = append(in.small[:0], rest...)
		giveLarge(in.buf)
		in.buf, in.small = in.small, nil
	} else {
		in.buf = in.buf[:copy(in.buf, rest)]
	}
	in.pos = 0
}

// replaced is called when another buffer has replaced old, of which nothing is left.
func (in *input) replaced(old []byte) {
	if isLarge(old) {
		giveLarge(old)
	} else if isLarge(in.buf) {
		in.small = old[:0]
	}
}
