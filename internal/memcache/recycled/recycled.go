// Package recycled lets tests observe memory that the store is about to use again.
package recycled

// Look is called with memory that must not be read any more, before it is used again. A test sets it before any other goroutine runs.
var Look func([]byte)

// Scribble makes Look overwrite the memory, so that code that still reads it finds other bytes.
func Scribble() {
	Look = func(p []byte) {
		for i := range p {
			p[i] ^= 0x5a
		}
	}
}
