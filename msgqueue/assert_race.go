//go:build race

package msgqueue

import "github.com/evmq/evmq/internal/sample"

// inLoopAssert chooses the calls of assertInLoop that are examined.
type inLoopAssert struct{ calls sample.Sampler }

// assertInLoop panics if the caller is not on the goroutine that runs the loop. Methods whose names end in InLoop call it. Not under mu.
// Of very many calls it examines a sample, since OnLoop takes longer than a delivery.
func (q *Queue[T]) assertInLoop() {
	if q.inLoopAssert.calls.Next() && !q.loop.OnLoop() {
		panic("msgqueue: a method for the loop's goroutine was called on another goroutine")
	}
}
