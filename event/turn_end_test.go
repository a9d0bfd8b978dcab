package event_test

import (
	"runtime"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

func onTurnEnd(t testing.TB, l *event.Loop, fn func()) *event.Watcher {
	t.Helper()
	w, err := l.OnTurnEnd(fn)
	testkit.Must(t, err)
	return w
}

// TestTheEndOfATurnComesBehindItsCallbacks and before the turn's run returns.
func TestTheEndOfATurnComesBehindItsCallbacks(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	var seen []string
	see := func(what string) func() { return func() { seen = append(seen, what) } }
	onTurnEnd(t, l, see("end 1"))
	onTurnEnd(t, l, see("end 2"))
	onPrepare(t, l, see("prepare"))
	onCheck(t, l, see("check"))
	testkit.Must(t, l.Post(see("callback 1")))
	testkit.Must(t, l.Post(see("callback 2")))
	testkit.Must(t, l.RunNonblock())
	turn := []string{"prepare", "check", "callback 1", "callback 2", "end 1", "end 2"}
	wantOrder(t, seen, turn...)
	testkit.Must(t, l.Post(func() { testkit.Must(t, l.Break()) }))
	testkit.Must(t, l.RunForever(t.Context()))
	wantOrder(t, seen, append(turn, "prepare", "check", "end 1", "end 2")...)
}

// TestTheEndOfATurnMayMakeWorkForTheNext: the loop does not sleep then.
func TestTheEndOfATurnMayMakeWorkForTheNext(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	e, err := l.NewEvent(-1, 0, func(*event.Event, event.Flags) {
		if calls++; calls == 3 {
			testkit.Must(t, l.Break())
		}
	})
	testkit.Must(t, err)
	onTurnEnd(t, l, func() { testkit.Must(t, e.Activate(0)) })
	testkit.Must(t, e.Activate(0))
	testkit.Must(t, l.RunForever(t.Context()))
	if calls != 3 {
		t.Errorf("%d calls, want 3", calls)
	}
}

// TestATurnThatIsCutShortIsEndedBeforeTheNext: by a panic and by runtime.Goexit.
func TestATurnThatIsCutShortIsEndedBeforeTheNext(t *testing.T) {
	for name, cut := range map[string]func(){"panic": func() { panic("cut") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			var seen []string
			see := func(what string) func() { return func() { seen = append(seen, what) } }
			onPrepare(t, l, see("prepare"))
			onTurnEnd(t, l, see("end"))
			testkit.Must(t, l.Post(func() { see("callback")(); cut() }))
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { _ = recover() }()
				_ = l.RunNonblock()
			}()
			<-done
			wantOrder(t, seen, "prepare", "callback")
			testkit.Must(t, l.RunNonblock())
			wantOrder(t, seen, "prepare", "callback", "end", "prepare", "end")
		})
	}
}
