package event_test

import (
	"runtime"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// endings are the ways in which a callback does not return.
var endings = map[string]func(){
	"panic":  func() { panic("a callback") },
	"Goexit": runtime.Goexit,
}

// apart runs fn on a goroutine of its own, whose end by panic or Goexit it survives.
func apart(t testing.TB, what string, fn func()) {
	t.Helper()
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer func() { _ = recover() }()
		fn()
	}()
	testkit.Await(t, over, what)
}

// If functions called by Close panic or end their goroutine, all others are called once, in order, and the loop is closed with
// its descriptors.
func TestCloseCallsAllFunctionsThoughSomePanic(t *testing.T) {
	const n = 5
	arrange := map[string]func(t *testing.T, l *event.Loop, fn func()){
		"OnClose": func(t *testing.T, l *event.Loop, fn func()) {
			_, err := l.OnClose(fn)
			testkit.Must(t, err)
		},
		"Post": func(t *testing.T, l *event.Loop, fn func()) { testkit.Must(t, l.Post(fn)) },
		"Finalize": func(t *testing.T, l *event.Loop, fn func()) {
			testkit.Must(t, silent(t, l, -1, 0).Finalize(func(*event.Event) { fn() }))
		},
	}
	for ending, end := range endings {
		for bad := range n + 1 { // the last says that all are
			t.Run(ending, func(t *testing.T) {
				l := testkit.NewLoop(t, nil)
				called := map[string][]int{}
				for place, add := range arrange {
					for i := range n {
						add(t, l, func() {
							called[place] = append(called[place], i)
							if i == bad || bad == n {
								end()
							}
						})
					}
				}
				apart(t, "Close", func() { _ = l.Close() })
				testkit.Await(t, l.Done(), "Done")
				for place := range arrange {
					wantOrder(t, called[place], 0, 1, 2, 3, 4)
				}
				testkit.WantErr(t, l.Post(func() {}), event.ErrClosed)
			})
		}
	}
}

// An OnClose watcher that is stopped by one before it is not called, and one that panics is not called again.
func TestStoppedCloseWatcherIsNotCalledAfterAPanic(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	var second *event.Watcher
	_, err := l.OnClose(func() {
		calls++
		second.Stop()
		panic("first")
	})
	testkit.Must(t, err)
	second, err = l.OnClose(func() { t.Error("a stopped watcher was called") })
	testkit.Must(t, err)
	panics(t, func() { testkit.Must(t, l.Close()) })
	testkit.Await(t, l.Done(), "Done")
	testkit.WantEqual(t, "calls", calls, 1)
}

// If a callback of a run panics or ends its goroutine, the loop can be run again and closed, and all other callbacks are called.
func TestLoopContinuesAfterACallbackThatDoesNotReturn(t *testing.T) {
	for place, arrange := range inTurns() {
		for ending, end := range endings {
			t.Run(place+", "+ending, func(t *testing.T) {
				s := newStage(t, func() {}, nil)
				ended, posted, called := false, 0, 0
				arrange(s, func() {
					if !ended {
						ended = true
						end()
					}
				})
				testkit.Must(t, s.l.Post(func() { posted++ }))
				e := userEvent(t, s.l, 0, func() { called++ })
				testkit.Must(t, e.Activate(0))
				apart(t, "Run", func() { _ = s.l.RunNonblock() })
				for range 3 {
					s.check("RunNonblock", s.l.RunNonblock())
				}
				testkit.WantEqual(t, "the place was reached", ended, true)
				testkit.WantEqual(t, "posts", posted, 1)
				testkit.WantEqual(t, "calls", called, 1)
				closed := make(chan error, 1)
				go func() { closed <- s.l.Close() }()
				testkit.Must(t, testkit.Await(t, closed, "Close"))
			})
		}
	}
}

// As many posts as the default limit admits may all panic, or end their goroutine: each is called once, and the loop is closed.
func TestCloseSurvivesAPanicInEveryPostOfAFullLoop(t *testing.T) {
	for ending, end := range endings {
		t.Run(ending, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			called := 0
			for range event.DefaultPostLimit {
				testkit.Must(t, l.Post(func() {
					called++
					end()
				}))
			}
			testkit.WantErr(t, l.Post(func() {}), event.ErrFull)
			apart(t, "Close", func() { _ = l.Close() })
			testkit.Await(t, l.Done(), "Done")
			testkit.WantEqual(t, "calls", called, event.DefaultPostLimit)
		})
	}
}
