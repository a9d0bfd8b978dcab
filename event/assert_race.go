//go:build race

package event

// inLoopAssert is the buffer that assertInLoop uses, so that it does not allocate.
type inLoopAssert struct{ idBuf [64]byte }

// assertInLoop panics if the caller is not on the goroutine that runs the loop. Methods whose names end in InLoop call it. It reads
// runner without l.mu: the goroutine that runs the loop has written it, and no other one writes it meanwhile.
func (l *Loop) assertInLoop() {
	if l.runner != goroutineID(l.inLoopAssert.idBuf[:]) {
		panic("event: a method for the loop's goroutine was called on another goroutine")
	}
}
