package event_test

import (
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// While no callback runs, Continue does nothing: the callbacks of the next turn are called, and a Run can end.
func TestContinueOutsideACallbackDoesNothing(t *testing.T) {
	places := map[string]func(t *testing.T, l *event.Loop){
		"before the run": func(_ *testing.T, l *event.Loop) { l.Continue() },
		"prepare":        func(t *testing.T, l *event.Loop) { onPrepare(t, l, l.Continue) },
		"check":          func(t *testing.T, l *event.Loop) { onCheck(t, l, l.Continue) },
		"other goroutine": func(t *testing.T, l *event.Loop) {
			onCheck(t, l, func() { apart(t, "Continue", l.Continue) })
		},
	}
	for name, arrange := range places {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			var calls journal
			arrange(t, l)
			activateAll(t, calls.user(t, l, "first", nil), calls.user(t, l, "second", nil))
			oneTurn(t, l)
			calls.want(t, "first", "second")
			testkit.WantEqual(t, "interrupted", l.Interrupted(), false)
		})
	}
}
