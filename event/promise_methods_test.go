package event_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// stage is a loop with one event of each kind, on which the tests of the promises call everything there is.
type stage struct {
	t       *testing.T
	l       *event.Loop
	events  []*event.Event
	fd      int
	ended   context.Context // a run or a wait that is given it is over at once
	touched atomic.Int64
}

// newStage makes a stage whose events call do. Its loop has cfg with three priorities.
func newStage(t *testing.T, do func(), cfg *event.Config) *stage {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := event.Config{}
	if cfg != nil {
		c = *cfg
	}
	c.Priorities = 3
	s := &stage{t: t, l: testkit.NewLoop(t, &c), ended: ctx}
	call := func(*event.Event, event.Flags) { do() }
	_, _, s.fd, _ = pair(t)
	s.events = []*event.Event{
		eventFor(t, s.l, -1, 0, call),
		eventFor(t, s.l, -1, event.Persist, call),
		eventFor(t, s.l, s.fd, event.Write, call),
		eventFor(t, s.l, s.fd, event.Read|event.Persist, call),
		eventFor(t, s.l, int(syscall.SIGWINCH), event.Signal|event.Persist, call),
	}
	return s
}

// any returns one of the events.
func (s *stage) any() *event.Event { return s.events[rand.IntN(len(s.events))] }

// fresh returns an event that no other goroutine uses.
func (s *stage) fresh() *event.Event {
	e, err := s.l.NewEvent(-1, event.Persist, func(*event.Event, event.Flags) { s.touched.Add(1) })
	if err != nil {
		return s.any()
	}
	return e
}

// watched stops the watcher that one of the On methods returned.
func (s *stage) watched(w *event.Watcher, err error) error {
	if err == nil {
		w.Stop()
	}
	return err
}

// made is for the methods that make an event.
func (s *stage) made(e *event.Event, err error) error {
	if err == nil {
		return e.Del()
	}
	return err
}

// methods is every exported method of the package, each with a call that is safe to make at any time.
func (s *stage) methods() map[string]func() error {
	all := s.loopMethods()
	maps.Copy(all, s.eventMethods())
	return all
}

// loopMethods are the methods of a Loop and of its Watchers.
func (s *stage) loopMethods() map[string]func() error {
	l, touch := s.l, func() { s.touched.Add(1) }
	told := func(*event.Event, event.Flags) { touch() }
	return map[string]func() error{
		"Loop.ActivateFD":     func() error { return l.ActivateFD(s.fd, event.Read) },
		"Loop.ActivateSignal": func() error { return l.ActivateSignal(int(syscall.SIGWINCH)) },
		"Loop.AfterFunc":      func() error { _, err := l.AfterFunc(time.Microsecond, touch); return err },
		"Loop.Backend":        func() error { l.Backend(); return nil },
		"Loop.Break":          l.Break,
		"Loop.Close":          func() error { return l.Post(func() { s.check("Close", l.Close()) }) },
		"Loop.Continue":       func() error { l.Continue(); return nil },
		"Loop.Done":           func() error { l.Done(); return nil },
		"Loop.Clock":          func() error { l.Clock(); return nil },
		"Loop.Driver":         func() error { l.Driver(); return nil },
		"Loop.Dump":           func() error { return l.Dump(io.Discard) },
		"Loop.Events":         func() error { l.Events(); return nil },
		"Loop.Exit":           func() error { return l.Exit(time.Duration(rand.IntN(1000))) },
		"Loop.Features":       func() error { l.Features(); return nil },
		"Loop.GotBreak":       func() error { l.GotBreak(); return nil },
		"Loop.GotExit":        func() error { l.GotExit(); return nil },
		"Loop.InitEvent": func() error {
			e := new(event.Event)
			return s.made(e, l.InitEvent(e, s.fd, event.Write, told))
		},
		"Loop.Interrupted": func() error { l.Interrupted(); return nil },
		"Loop.NewEvent":    func() error { return s.made(l.NewEvent(s.fd, event.Write, told)) },
		"Loop.NewSignal":   func() error { return s.made(l.NewSignal(syscall.SIGWINCH, told)) },
		"Loop.NewTicker":   func() error { return s.made(l.NewTicker(told)) },
		"Loop.NewTimer":    func() error { return s.made(l.NewTimer(told)) },
		"Loop.Now":         func() error { l.Now(); return nil },
		"Loop.OnCheck":     func() error { return s.watched(l.OnCheck(touch)) },
		"Loop.OnTurnEnd":   func() error { return s.watched(l.OnTurnEnd(touch)) },
		"Loop.OnClose":     func() error { return s.watched(l.OnClose(touch)) },
		"Loop.OnLoop":      func() error { l.OnLoop(); return nil },
		"Loop.OnPrepare":   func() error { return s.watched(l.OnPrepare(touch)) },
		"Loop.Once": func() error {
			_, err := l.Once(s.fd, event.Write, time.Millisecond, func(event.Flags) { touch() })
			return err
		},
		"Loop.Own":         ownALoop,
		"Loop.PollTimeout": func() error { l.PollTimeout(); return nil },
		"Loop.Post":        func() error { return l.Post(touch) },
		"Loop.Priorities":  func() error { l.Priorities(); return nil },
		"Loop.Ref":         func() error { l.Ref(); l.Unref(); return nil },
		"Loop.ResetMax":    func() error { l.ResetMax(); return nil },
		"Loop.Run":         func() error { return l.Run(s.ended) },
		"Loop.RunForever":  func() error { return l.RunForever(s.ended) },
		"Loop.RunNonblock": l.RunNonblock,
		"Loop.RunOnce":     func() error { return l.RunOnce(s.ended) },
		"Loop.Stats":       func() error { l.Stats().Busy(); return nil },
		"Loop.Unref":       func() error { l.Ref(); l.Unref(); l.Unref(); return nil },

		"Watcher.Stop": func() error { return s.watched(l.OnPrepare(touch)) },
	}
}

// eventMethods are the methods of an Event.
func (s *stage) eventMethods() map[string]func() error {
	touch := func() { s.touched.Add(1) }
	return map[string]func() error{
		"Event.Activate":      func() error { return s.any().Activate(event.Timeout) },
		"Event.Add":           func() error { return s.any().Add(time.Duration(rand.IntN(1000)) * time.Microsecond) },
		"Event.Added":         func() error { s.any().Added(); return nil },
		"Event.Del":           func() error { return s.any().Del() },
		"Event.DelWait":       func() error { return s.any().DelWait(s.ended) },
		"Event.Err":           func() error { return s.any().Err() },
		"Event.FD":            func() error { s.any().FD(); return nil },
		"Event.Finalize":      func() error { return s.fresh().Finalize(func(*event.Event) { touch() }) },
		"Event.Flags":         func() error { s.any().Flags(); return nil },
		"Event.Loop":          func() error { s.any().Loop().Backend(); return nil },
		"Event.Pending":       func() error { s.any().Pending(); return nil },
		"Event.Priority":      func() error { s.any().Priority(); return nil },
		"Event.Remaining":     func() error { s.any().Remaining(); return nil },
		"Event.SetConditions": func() error { return s.events[3].SetConditions(event.Read & event.Flags(rand.IntN(4))) },
		"Event.SetTimeout":    func() error { return s.any().SetTimeout(time.Duration(rand.IntN(1e6))) },
		"Event.SetName":       func() error { s.any().SetName("hammered"); return nil },
		"Event.SetPriority":   func() error { return s.any().SetPriority(rand.IntN(3)) },
	}
}

// ownALoop calls the methods of an Owner, on a loop of its own, since the owner of a loop ends the calls of all others.
func ownALoop() error {
	l, err := event.NewLoop(nil)
	if err != nil {
		return err
	}
	o, err := l.Own()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return o.Close()
}

// names are the keys of methods, for tests that call them in order.
func names(methods map[string]func() error) []string {
	var all []string
	for name := range methods {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// check accepts the refusals that the documentation names for calls at a bad moment, and nothing else.
func (s *stage) check(name string, err error) {
	for _, refusal := range []error{
		event.ErrClosed, event.ErrRunning, event.ErrOnLoop, event.ErrPending, event.ErrFull, event.ErrFinalized, event.ErrNotAdded, context.Canceled,
	} {
		if errors.Is(err, refusal) {
			return
		}
	}
	if err != nil {
		s.t.Errorf("%s: %v", name, err)
	}
}

// callAll calls every method once.
func (s *stage) callAll() {
	methods := s.methods()
	for _, name := range names(methods) {
		s.check(name, methods[name]())
	}
}

// Every exported method is in the lists of these tests.
func TestEveryMethodIsCalled(t *testing.T) {
	s := newStage(t, func() {}, nil)
	methods := s.methods()
	for _, of := range []any{s.l, s.events[0], &event.Watcher{}} {
		typ := reflect.TypeOf(of)
		for m := range typ.Methods() {
			name := strings.TrimPrefix(typ.Elem().String(), "event.") + "." + m.Name
			if methods[name] == nil && name != "Event.Conditions" { // which is for the loop only
				t.Errorf("%s is missing", name)
			}
		}
	}
}
