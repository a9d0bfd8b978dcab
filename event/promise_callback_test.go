package event_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// callingHandler is a log handler that does something with each record.
type callingHandler struct {
	slog.Handler
	do func()
}

func (h callingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h callingHandler) Handle(context.Context, slog.Record) error {
	h.do()
	return nil
}

// places are where a loop calls a user's function. Each makes the loop of s call do, which calls the rest once it was
// called.
var places = map[string]func(s *stage, do func()){
	"event": func(s *stage, do func()) {
		testkit.Must(s.t, userEvent(s.t, s.l, 0, do).Activate(0))
	},
	"timer": func(s *stage, do func()) {
		_, err := s.l.AfterFunc(0, do)
		testkit.Must(s.t, err)
	},
	"signal": func(s *stage, do func()) {
		newSignal(s.t, s.l, syscall.SIGUSR1, func(*event.Event, event.Flags) { do() })
		testkit.Must(s.t, s.l.ActivateSignal(int(syscall.SIGUSR1)))
	},
	"descriptor": func(s *stage, do func()) {
		_, err := s.l.Once(s.fd, event.Write, event.NoTimeout, func(event.Flags) { do() })
		testkit.Must(s.t, err)
	},
	"post":      func(s *stage, do func()) { testkit.Must(s.t, s.l.Post(do)) },
	"finalizer": func(s *stage, do func()) { testkit.Must(s.t, s.fresh().Finalize(func(*event.Event) { do() })) },
	"prepare":   func(s *stage, do func()) { onPrepare(s.t, s.l, do) },
	"check":     func(s *stage, do func()) { onCheck(s.t, s.l, do) },
	"turn end":  func(s *stage, do func()) { onTurnEnd(s.t, s.l, do) },
	"close watcher": func(s *stage, do func()) {
		_, err := s.l.OnClose(do)
		testkit.Must(s.t, err)
	},
	"panic handler": func(s *stage, do func()) {
		testkit.Must(s.t, s.l.Post(func() { panic(do) }))
	},
	"logger of a slow callback": func(s *stage, _ func()) {
		testkit.Must(s.t, s.l.Post(func() { runtime.Gosched() }))
	},
	"logger of a stale descriptor": func(s *stage, _ func()) {
		e, _ := ghost(s.t, s.l, event.Read|event.Persist, func(*event.Event, event.Flags) {})
		_ = e.Del()
	},
}

// calledByClose are those of the places that Close calls.
var calledByClose = []string{"post", "finalizer", "close watcher", "panic handler", "logger of a slow callback"}

// inTurns are the places that are called in a turn, and where nothing but the user's own function runs.
func inTurns() map[string]func(s *stage, do func()) {
	some := maps.Clone(places)
	maps.DeleteFunc(some, func(name string, _ func(*stage, func())) bool {
		return strings.HasPrefix(name, "logger") || name == "panic handler" || name == "close watcher"
	})
	return some
}

// At each place where the loop calls a user's function, every method may be called, on the spot and by another goroutine
// that the function waits for: no lock of the loop is held there.
func TestNoLockIsHeldInCallbacks(t *testing.T) {
	for name, arrange := range places {
		for ending, finish := range map[string]func(s *stage){
			"turn": func(s *stage) {
				for range 3 { // Break and Exit that stand from before end a turn early
					s.check("RunNonblock", s.l.RunNonblock())
				}
			},
			"Close": func(s *stage) { testkit.Must(s.t, s.l.Close()) },
		} {
			if ending == "Close" && !slices.Contains(calledByClose, name) || ending == "turn" && name == "close watcher" {
				continue
			}
			t.Run(name+" in "+ending, func(t *testing.T) {
				calls := 0
				var s *stage
				do := func() {
					if calls++; calls > 1 {
						return // what the calls below have caused
					}
					s.callAll()
					s.l.Break() // whatever waits for the end of a turn does not keep the other goroutine waiting
					var other sync.WaitGroup
					other.Go(s.callAll)
					other.Wait()
				}
				cfg := &event.Config{PanicHandler: func(v any, _ []byte) {
					if do, ok := v.(func()); ok {
						do()
					} else {
						t.Errorf("panic: %v", v)
					}
				}}
				if strings.HasPrefix(name, "logger") {
					cfg.SlowCallback, cfg.Logger = 1, slog.New(callingHandler{do: do})
				}
				s = newStage(t, func() {}, cfg)
				over := make(chan struct{})
				go func() {
					defer close(over)
					arrange(s, do)
					finish(s)
				}()
				testkit.Await(t, over, "end of the "+ending)
				if calls == 0 && (name != "logger of a stale descriptor" || s.l.Features().Has(event.FeatureStale)) {
					t.Error("the place was not reached")
				}
			})
		}
	}
}

// A panic passes through Run, and the loop can be run again: what was active or posted before is called then.
func TestPanicPassesThroughRun(t *testing.T) {
	for name, arrange := range inTurns() {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, func() {}, nil)
			l := s.l
			panicked, called, posted := false, 0, 0
			testkit.Must(t, l.Post(func() { posted++ }))
			testkit.Must(t, userEvent(t, l, 0, func() { called++ }).Activate(0))
			arrange(s, func() {
				if !panicked {
					panicked = true
					panic("callback of " + name)
				}
			})
			testkit.Must(t, l.Post(func() { posted++ }))
			testkit.Must(t, userEvent(t, l, 0, func() { called++ }).Activate(0))
			passed := any(nil)
			for range 3 {
				func() {
					defer func() {
						if v := recover(); v != nil {
							passed = v
						}
					}()
					testkit.Must(t, l.RunNonblock())
				}()
			}
			testkit.WantEqual(t, "panic that passed", passed, any("callback of "+name))
			testkit.WantEqual(t, "posts called", posted, 2)
			testkit.WantEqual(t, "events called", called, 2)
			testkit.WantEqual(t, "on the loop", l.OnLoop(), false)
			testkit.Must(t, l.RunNonblock())
		})
	}
}

// With a panic handler the loop continues within the same turn; the handler gets the value and the stack of the panic.
func TestPanicHandlerIsolates(t *testing.T) {
	for name, arrange := range inTurns() {
		t.Run(name, func(t *testing.T) {
			var values []any
			var stacks []string
			s := newStage(t, func() {}, &event.Config{PanicHandler: func(v any, stack []byte) {
				values, stacks = append(values, v), append(stacks, string(stack))
			}})
			panicked, posted := false, 0
			arrange(s, func() {
				if !panicked {
					panicked = true
					explode(name)
				}
			})
			testkit.Must(t, s.l.Post(func() { posted++ }))
			turns(t, s.l, 3)
			testkit.WantEqual(t, "posts called", posted, 1)
			if len(values) != 1 || values[0] != any(name) {
				t.Fatalf("the handler got %v", values)
			}
			if !strings.Contains(stacks[0], "explode") {
				t.Errorf("the stack does not show the function that panicked:\n%s", stacks[0])
			}
		})
	}
}

func explode(v any) { panic(v) }

func TestPanicInThePanicHandlerPassesThroughRun(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{PanicHandler: func(any, []byte) { panic("handler") }})
	testkit.Must(t, l.Post(func() { panic("post") }))
	called := false
	testkit.Must(t, l.Post(func() { called = true }))
	func() {
		defer func() {
			if v := recover(); v != any("handler") {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = l.Run(t.Context())
	}()
	testkit.Run(t, l)
	testkit.WantEqual(t, "the other post was called", called, true)
}

// A callback that panics counts as returned for DelWait.
func TestDelWaitReturnsWhenTheCallbackPanics(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	entered := make(chan struct{})
	var e *event.Event
	e = userEvent(t, l, event.Persist, func() {
		close(entered)
		testkit.Until(t, "Del", func() bool { return !e.Added() })
		panic("callback")
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Must(t, e.Activate(0))
	over := make(chan error, 1)
	go func() {
		defer func() { _ = recover() }()
		_ = l.Run(t.Context())
	}()
	testkit.Await(t, entered, "callback")
	go func() { over <- e.DelWait(t.Context()) }()
	testkit.Must(t, testkit.Await(t, over, "end of DelWait"))
}

// runtime.Goexit in a callback, as t.FailNow calls it, ends the goroutine and leaves the loop fit for another.
func TestGoexitInACallback(t *testing.T) {
	for name, arrange := range inTurns() {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, func() {}, nil)
			left, posted := false, 0
			arrange(s, func() {
				if !left {
					left = true
					runtime.Goexit()
				}
			})
			testkit.Must(t, s.l.Post(func() { posted++ }))
			over := make(chan struct{})
			go func() {
				defer close(over)
				for range 3 {
					if err := s.l.RunNonblock(); err != nil {
						t.Error(err)
					}
				}
				t.Error("Goexit did not end the goroutine")
			}()
			testkit.Await(t, over, "end of the goroutine")
			turns(t, s.l, 3)
			testkit.WantEqual(t, "posts called", posted, 1)
		})
	}
}

// Close waits for a loop whose callback panics or calls Goexit no less than for one that returns.
func TestCloseReturnsWhenTheCallbackPanics(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("callback") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			entered := make(chan struct{})
			testkit.Must(t, l.Post(func() {
				close(entered)
				testkit.Until(t, "Close", func() bool { return errors.Is(l.Post(func() {}), event.ErrClosed) })
				end()
			}))
			go func() {
				defer func() { _ = recover() }()
				_ = l.Run(t.Context())
			}()
			testkit.Await(t, entered, "callback")
			closed := make(chan error, 1)
			go func() { closed <- l.Close() }()
			testkit.Must(t, testkit.Await(t, closed, "end of Close"))
		})
	}
}

// A Continue before a panic in the same callback does not affect the next run.
func TestContinueEndsWithItsRun(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	e, err := l.NewEvent(-1, event.Persist, func(*event.Event, event.Flags) {
		if calls++; calls == 1 {
			l.Continue()
			panic("on purpose")
		}
	})
	testkit.Must(t, err)
	testkit.Must(t, e.Activate(0))
	func() {
		defer func() { _ = recover() }()
		testkit.Run(t, l)
	}()
	if l.Interrupted() {
		t.Error("still interrupted after the run")
	}
	testkit.Must(t, e.Activate(0))
	testkit.Run(t, l)
	if calls != 2 {
		t.Errorf("%d calls, want the second one in the second run", calls)
	}
}
