//go:build !race

package event

// inLoopAssert is empty; race builds have a state.
type inLoopAssert struct{}

// assertInLoop does nothing; in race builds it checks the goroutine.
func (l *Loop) assertInLoop() { _ = l.inLoopAssert }
