// Package recycled is where tests look at memory that the store is about to use again.
package recycled

// Look is a test's, set before anything runs. It is called with memory that nobody may look at any more.
var Look func([]byte)

// Scribble has such memory written over, so that who still looks at it finds something else.
func Scribble() {
	Look = func(p []byte) {
		for i := range p {
			p[i] ^= 0x5a
		}
	}
}
