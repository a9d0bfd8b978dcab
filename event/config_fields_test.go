package event_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"net"
	"reflect"
	"syscall"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// NewLoop refuses an invalid field with an error that names the field and its value.
func TestInvalidConfigIsRefused(t *testing.T) {
	noPoller := func() (event.Poller, error) { return nil, errors.New("opened") }
	for _, c := range []struct {
		cfg   event.Config
		err   error
		names []string
	}{
		{event.Config{Priorities: -1}, event.ErrInvalid, []string{"Priorities", "-1"}},
		{event.Config{Priorities: 256}, event.ErrInvalid, []string{"Priorities", "256"}},
		{event.Config{Budget: event.Budget{MinPriority: -4}}, event.ErrInvalid, []string{"Budget.MinPriority", "-4"}},
		{event.Config{Priorities: 5, Budget: event.Budget{MinPriority: 5}}, event.ErrInvalid, []string{"Budget.MinPriority", "5"}},
		{event.Config{Backend: event.BackendPoll, OpenPoller: noPoller}, event.ErrInvalid, []string{"Backend", "poll", "OpenPoller"}},
		{event.Config{Backend: "devpoll"}, event.ErrUnsupported, []string{"devpoll"}},
		{event.Config{Driver: "horse"}, event.ErrUnsupported, []string{"horse"}},
		{event.Config{Backend: event.BackendPoll, Driver: event.DriverPark}, event.ErrUnsupported, []string{"poll"}},
		{event.Config{Backend: event.BackendPoll, Driver: event.DriverAdaptive}, event.ErrUnsupported, []string{"adaptive", "poll"}},
		{event.Config{OpenPoller: noPoller, Driver: event.DriverAdaptive}, event.ErrUnsupported, []string{"adaptive", "OpenPoller"}},
		{event.Config{Features: 0x80}, event.ErrUnsupported, nil},
	} {
		l, err := event.NewLoop(&c.cfg)
		for _, name := range c.names {
			wantMessage(t, err, c.err, name)
		}
		testkit.WantErr(t, err, c.err)
		if l != nil {
			t.Error("a loop was returned with the error")
		}
	}
}

// Zero fields, and a nil Config, mean the defaults. A negative limit means no limit, as the largest value does.
func TestConfigDefaultsAndLimits(t *testing.T) {
	for _, c := range []struct {
		cfg        *event.Config
		priorities int
	}{
		{nil, 1},
		{&event.Config{}, 1},
		{&event.Config{PostLimit: event.Unlimited, SlowCallback: -1, Budget: event.Budget{Callbacks: event.Unlimited, Time: -1}}, 1},
		{&event.Config{PostLimit: math.MinInt, SlowCallback: math.MinInt64, Budget: event.Budget{Callbacks: math.MinInt, Time: math.MinInt64}}, 1},
		{&event.Config{Priorities: event.MaxPriorities, PostLimit: math.MaxInt, Budget: event.Budget{
			Callbacks: math.MaxInt, Time: math.MaxInt64, MinPriority: event.MaxPriorities - 1,
		}}, event.MaxPriorities},
	} {
		l := testkit.NewLoop(t, c.cfg)
		testkit.WantEqual(t, "priorities", l.Priorities(), c.priorities)
		testkit.Must(t, l.Post(func() {}))
		testkit.Run(t, l)
		testkit.WantEqual(t, "slow callbacks timed", l.Stats().LongestCallback, 0)
	}
}

// A negative PostLimit accepts more posts than the default limit, and a negative budget calls them in one turn.
func TestNegativeLimitIsNoLimit(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{PostLimit: event.Unlimited, Budget: event.Budget{Callbacks: event.Unlimited}})
	called := 0
	for range event.DefaultPostLimit + 1 {
		testkit.Must(t, l.Post(func() { called++ }))
	}
	oneTurn(t, l)
	testkit.WantEqual(t, "posts called in one turn", called, event.DefaultPostLimit+1)
}

// NewLoop and the loop never write to the user's Config, and later changes of it do not reach the loop.
func TestConfigIsNotWrittenTo(t *testing.T) {
	cfg := event.Config{PostLimit: 1, IgnoreEnv: true}
	before := cfg
	l, err := event.NewLoop(&cfg)
	testkit.Must(t, err)
	defer l.Close()
	if !reflect.DeepEqual(cfg, before) {
		t.Errorf("NewLoop made the Config %+v, it was %+v", cfg, before)
	}
	cfg.PostLimit = 2
	testkit.Must(t, l.Post(func() {}))
	testkit.WantErr(t, l.Post(func() {}), event.ErrFull)
}

// ErrClosed matches net.ErrClosed, and no other error of the standard library that means closed.
func TestErrClosedMatchesNetErrClosed(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, -1, 0)
	testkit.Must(t, l.Close())
	_, newEvent := l.NewEvent(-1, 0, func(*event.Event, event.Flags) {})
	for op, err := range map[string]error{
		"Run": l.Run(t.Context()), "Post": l.Post(func() {}), "Exit": l.Exit(0), "Add": e.Add(0), "Activate": e.Activate(0), "NewEvent": newEvent,
	} {
		if !errors.Is(err, event.ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v does not match event.ErrClosed and net.ErrClosed", op, err)
		}
		if errors.Is(err, fs.ErrClosed) || errors.Is(err, event.ErrOwned) {
			t.Errorf("%s: %v matches fs.ErrClosed or ErrOwned", op, err)
		}
	}
}

// A wrong argument is ErrInvalid, and the text names the argument and its value.
func TestInvalidArgumentIsNamed(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 3})
	nop := func(*event.Event, event.Flags) {}
	e, reader := silent(t, l, -1, 0), silent(t, l, readable(t), event.Read)
	testkit.Must(t, e.Add(event.NoTimeout))
	newEvent := func(fd int, flags event.Flags, fn func(*event.Event, event.Flags)) error {
		_, err := l.NewEvent(fd, flags, fn)
		return err
	}
	_, once := l.Once(-1, event.Persist, 0, func(event.Flags) {})
	_, afterFunc := l.AfterFunc(0, nil)
	_, onPrepare := l.OnPrepare(nil)
	_, newSignal := l.NewSignal(nil, nop)
	var noContext context.Context
	for _, c := range []struct {
		err   error
		names string
	}{
		{newEvent(-1, 0x4000, nop), "flags invalid"},
		{newEvent(1, event.Signal|event.Read, nop), "flags Read|Signal"},
		{newEvent(-1, event.EdgeTriggered, nop), "flags EdgeTriggered"},
		{newEvent(9, event.Signal, nop), "signal 9"},
		{newEvent(-1, 0, nil), "callback is nil"},
		{once, "flags Persist"},
		{afterFunc, "callback is nil"},
		{onPrepare, "callback is nil"},
		{newSignal, "signal <nil>"},
		{e.Add(-5), "timeout -5ns"},
		{e.SetTimeout(-6), "timeout -6ns"},
		{e.SetPriority(3), "priority 3 of 3"},
		{e.SetPriority(-1), "priority -1 of 3"},
		{e.SetConditions(event.Read), "conditions Read"},
		{reader.SetConditions(event.Signal), "conditions Signal"},
		{e.Activate(event.Persist), "flags Persist"},
		{e.Finalize(nil), "callback is nil"},
		{l.ActivateFD(0, event.Signal), "conditions Signal"},
		{l.Exit(-7), "time -7ns"},
		{l.Post(nil), "callback is nil"},
		{e.DelWait(noContext), "context is nil"},
		{l.Run(noContext), "context is nil"},
		{l.RunForever(noContext), "context is nil"},
		{l.RunOnce(noContext), "context is nil"},
	} {
		wantMessage(t, c.err, event.ErrInvalid, c.names)
	}
}

// An error that comes from the system matches an error of this package and can be unwrapped to the system's number.
func TestSystemErrorsUnwrapToErrno(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{IgnoreEnv: true})
	closed := privateDup(t, readable(t))
	e := silent(t, l, closed, event.Read)
	closeRaw(t, closed)
	err := e.Add(event.NoTimeout)
	testkit.WantErr(t, err, event.ErrBadDescriptor)
	var errno syscall.Errno
	if !errors.As(err, &errno) || errno != syscall.EBADF {
		t.Errorf("%v unwraps to %v, want %v", err, errno, syscall.EBADF)
	}
}
