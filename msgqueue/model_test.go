package msgqueue_test

import (
	"context"
	"testing"

	"pgregory.net/rapid"
)

// Any sequence of calls, also made inside callbacks, has the results that a simple list would have: the bound is exact, the
// order is that of the pushes, each accepted message is delivered once or returned, and the counts agree at every step.
func TestQueueAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.OneOf(rapid.IntRange(1, 5), rapid.IntRange(300, 700)).Draw(t, "bound")
		budget := rapid.IntRange(1, 400).Draw(t, "budget")
		m := newMachine(t, bound, budget)
		defer m.release()
		// Close and panic are the rare ones.
		act := rapid.Custom(func(t *rapid.T) action {
			return rapid.SampledFrom([]action{
				actNothing, actNothing, actNothing, actNothing, actPush, actPush, actPushBatch, actPushContext, actShutdown, actPanic,
			}).Draw(t, "act")
		})
		often := map[string]func(*rapid.T){
			"":     func(*rapid.T) { m.compare() },
			"Push": func(t *rapid.T) { m.push(act.Draw(t, "message")) },
			"PushBatch": func(t *rapid.T) {
				n := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, bound+2)).Draw(t, "n")
				m.pushBatch(n, act.Draw(t, "message"))
			},
			"PushContext": func(t *rapid.T) { m.pushContext(act.Draw(t, "message"), context.Canceled) },
			"wait":        func(t *rapid.T) { m.wait(act.Draw(t, "message")) },
			"cancel":      func(t *rapid.T) { m.cancel(rapid.IntRange(0, 3).Draw(t, "which")) },
			"turn":        func(*rapid.T) { m.turn() },
		}
		t.Repeat(often)
		ends := map[string]func(*rapid.T){
			"Close":            func(*rapid.T) { m.close() },
			"Close inside":     func(*rapid.T) { m.push(actClose) },
			"Shutdown":         func(*rapid.T) { m.shutdown() },
			"Shutdown at once": func(*rapid.T) { m.shutdownNow() },
			"close loop":       func(*rapid.T) { m.closeLoop() },
		}
		for name, fn := range often {
			ends[name] = fn
		}
		t.Repeat(ends)
		m.end()
	})
}
