//go:build race

package server

import "github.com/evmq/evmq/internal/sample"

// assertsLoop reports whether assertInLoop checks the goroutine.
const assertsLoop = true

// loopAssert is the state of assertInLoop.
type loopAssert struct{ calls sample.Sampler }

// assertInLoop panics if the caller is not on the loop's goroutine. It examines a sample of the calls, since the check takes longer than
// most methods. The loop must not be closed.
func (l *loop) assertInLoop(method string) {
	if l.loopAssert.calls.Next() && !l.ev.OnLoop() {
		panic("server: " + method + " was called on another goroutine than the loop's")
	}
}
