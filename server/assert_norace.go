//go:build !race

package server

// assertsLoop reports whether assertInLoop checks the goroutine.
const assertsLoop = false

// loopAssert is empty; in race builds it is the state of assertInLoop.
type loopAssert struct{}

// assertInLoop does nothing; in race builds it checks the goroutine.
func (l *loop) assertInLoop(string) { _ = l.loopAssert }
