//go:build !race

package msgqueue

// inLoopAssert is empty; race builds have a state.
type inLoopAssert struct{}

// assertInLoop does nothing; in race builds it checks the goroutine.
func (q *Queue[T]) assertInLoop() { _ = q.inLoopAssert }
