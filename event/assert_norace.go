//go:build !race

package event

type inLoopAssert struct{}

// assertInLoop does nothing; in race builds it checks the goroutine.
func (l *Loop) assertInLoop() {}
