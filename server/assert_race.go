//go:build race

package server

import "github.com/evmq/evmq/internal/sample"

// assertsLoop reports whether assertInLoop checks the goroutine.
const assertsLoop = true

// loopAssert is the state of assertInLoop.
type loopAssert struct{ calls sample.Sampler }

// assertInLoop panics if the caller is not on the loop's goroutine, or, when the loop has ended, if no goroutine runs the functions of
// lateWork. Each function that the loop calls begins with it, and each exported method that is for the loop only. It examines a sample of
// the calls, since the check takes longer than most of them. The race detector reports calls of two goroutines that are not ordered.
func (l *loop) assertInLoop(function string) {
	if !l.loopAssert.calls.Next() {
		return
	}
	if l.ended.Load() {
		if !l.late.isBusy() {
			panic("server: " + function + " was called for a loop that has ended")
		}
	} else if !l.ev.OnLoop() {
		panic("server: " + function + " was called on another goroutine than the loop's")
	}
}

// isBusy reports whether the loop has not ended, or a goroutine runs the functions. Any goroutine.
func (w *lateWork) isBusy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}
