// Package recycled lets tests observe memory that the store is about to use again.
package recycled

import (
	"bytes"
	"crypto/subtle"
)

// Look is called with memory that must not be read any more, before it is used again. A test sets it before any other goroutine runs.
var Look func([]byte)

// Scribble makes Look overwrite the memory, so that code that still reads it finds other bytes.
func Scribble() {
	mask := bytes.Repeat([]byte{0x5a}, 4096)
	Look = func(p []byte) {
		for len(p) > 0 {
			p = p[subtle.XORBytes(p, p, mask):]
		}
	}
}
