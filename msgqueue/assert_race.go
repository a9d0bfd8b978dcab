//go:build race

package msgqueue

// assertInLoop panics if the caller is not on the goroutine that runs the loop. Methods whose names end in InLoop call it. Not under mu.
func (q *Queue[T]) assertInLoop() {
	if !q.loop.OnLoop() {
		panic("msgqueue: a method for the loop's goroutine was called on another goroutine")
	}
}
