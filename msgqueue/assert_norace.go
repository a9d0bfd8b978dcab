//go:build !race

package msgqueue

// assertInLoop does nothing; in race builds it checks the goroutine.
func (q *Queue[T]) assertInLoop() {}
