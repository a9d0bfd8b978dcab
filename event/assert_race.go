//go:build race

package event

import (
	"github.com/evmq/evmq/internal/goid"
	"github.com/evmq/evmq/internal/sample"
)

// inLoopAssert is the state of assertInLoop.
type inLoopAssert struct {
	calls sample.Sampler
	idBuf [64]byte // assertInLoop uses it, so that it does not allocate
}

// assertInLoop panics if the caller is not on the goroutine that runs the loop. Methods whose names end in InLoop call it. It reads
// runner without l.mu: the goroutine that runs the loop has written it, and no other one writes it meanwhile. A turn makes about ten
// such calls, and the goroutine's number takes longer than all other work of an idle turn; so of very many calls it examines a sample.
func (l *Loop) assertInLoop() {
	chosen := l.inLoopAssert.calls.Next()
	if l.runner == 0 || chosen && l.runner != goid.Of(l.inLoopAssert.idBuf[:]) {
		panic("event: a method for the loop's goroutine was called on another goroutine")
	}
}
