package event_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// allFeatures are the features that a backend may have.
var allFeatures = []event.Features{
	event.FeatureEdge, event.FeatureClosed, event.FeatureConcurrent, event.FeatureStale, event.FeatureAnyFile,
}

func TestEachBackendOfTheSystemWorks(t *testing.T) {
	if len(event.Backends()) == 0 {
		t.Fatal("the system has no backend")
	}
	for _, b := range event.Backends() {
		t.Run(string(b), func(t *testing.T) {
			l := testkit.NewLoop(t, &event.Config{IgnoreEnv: true, Backend: b})
			testkit.WantEqual(t, "backend", l.Backend(), b)
			called := 0
			e := eventFor(t, l, readable(t), event.Read, func(*event.Event, event.Flags) { called++ })
			testkit.Must(t, e.Add(event.NoTimeout))
			testkit.Run(t, l)
			testkit.WantEqual(t, "calls", called, 1)
		})
	}
}

func TestDefaultBackendIsTheFirst(t *testing.T) {
	t.Setenv("EVMQ_BACKEND", "poll")
	t.Setenv("EVMQ_DRIVER", "thread")
	testkit.WantEqual(t, "backend without the environment", testkit.NewLoop(t, &event.Config{IgnoreEnv: true}).Backend(), event.Backends()[0])
}

func TestEnvironmentChoosesWhatTheConfigLeavesOpen(t *testing.T) {
	t.Setenv("EVMQ_BACKEND", "poll")
	t.Setenv("EVMQ_DRIVER", "thread")
	testkit.WantEqual(t, "backend left open", testkit.NewLoop(t, nil).Backend(), event.BackendPoll)
	testkit.WantEqual(t, "driver left open", testkit.NewLoop(t, nil).Driver(), event.DriverThread)
	first := event.Backends()[0]
	testkit.WantEqual(t, "backend by option", testkit.NewLoop(t, &event.Config{Backend: first}).Backend(), first)
}

// A loop has each feature that was required of it, or is not made.
func TestRequiredFeaturesAreThereOrNewLoopFails(t *testing.T) {
	for _, b := range event.Backends() {
		has := testkit.NewLoop(t, &event.Config{IgnoreEnv: true, Backend: b}).Features()
		for _, f := range allFeatures {
			l, err := event.NewLoop(&event.Config{IgnoreEnv: true, Backend: b, Features: f})
			if !has.Has(f) {
				wantMessage(t, err, event.ErrUnsupported, string(b), f.String())
				continue
			}
			testkit.Must(t, err)
			if !l.Features().Has(f) {
				t.Errorf("%s was made for %v and has %v", b, f, l.Features())
			}
			testkit.Must(t, l.Close())
		}
	}
}

// A persistent reader on a new loop sees everything up to the end of the file, and with its Del Run returns.
func TestPersistentReadSeesAllUpToTheEnd(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, peer, fd, fp := pair(t)
	sent := []string{"one", "two", "three"}
	send(t, fp, sent[0])
	var got string
	calls := 0
	e := eventFor(t, l, fd, event.Read|event.Persist, func(e *event.Event, what event.Flags) {
		calls++
		testkit.WantEqual(t, "what", what, event.Read)
		s, err := receive(fd)
		got += s
		switch {
		case errors.Is(err, io.EOF):
			testkit.Must(t, e.Del())
		case calls < len(sent):
			send(t, fp, sent[calls])
		default:
			peer.Close()
		}
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Run(t, l)
	testkit.WantEqual(t, "data", got, "onetwothree")
	testkit.WantEqual(t, "GotBreak, GotExit", [2]bool{l.GotBreak(), l.GotExit()}, [2]bool{})
}

// Close removes what is pending and what is active without a call, and leaves the descriptors open.
func TestCloseRemovesPendingAndActiveEvents(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, _, fd, peer := pair(t)
	all := map[string]*event.Event{
		"read":                silent(t, l, fd, event.Read|event.Persist),
		"read with a timeout": silent(t, l, fd, event.Read),
		"active read":         silent(t, l, fd, event.Read),
		"timer":               silent(t, l, -1, 0),
		"ticker":              silent(t, l, -1, event.Persist),
		"user":                silent(t, l, -1, 0),
		"active user":         silent(t, l, -1, event.Persist),
		"signal":              silent(t, l, int(unix.SIGUSR2), event.Signal|event.Persist),
	}
	timeouts := map[string]time.Duration{"read with a timeout": time.Hour, "timer": time.Hour, "ticker": time.Hour}
	for name, e := range all {
		d, ok := timeouts[name]
		if !ok {
			d = event.NoTimeout
		}
		testkit.Must(t, e.Add(d))
	}
	testkit.Must(t, all["active read"].Activate(event.Read))
	testkit.Must(t, all["active user"].Activate(event.Write))
	testkit.Must(t, l.Close())
	for name, e := range all {
		if e.Added() || e.Pending() != 0 {
			t.Errorf("%s: added %v, pending %v after Close", name, e.Added(), e.Pending())
		}
	}
	send(t, peer, "x")
	if s, err := receive(fd); s != "x" || err != nil {
		t.Errorf("the descriptor after Close: %q, %v", s, err)
	}
}

// Close also removes events that are active when Break ends the run.
func TestCloseRemovesEventsThatABreakLeftActive(t *testing.T) {
	clock := testkit.NewClock()
	l := testkit.NewLoop(t, &event.Config{Clock: clock})
	first := userEvent(t, l, 0, func() { l.Break() })
	timer := silent(t, l, -1, 0)
	ticker := silent(t, l, -1, event.Persist)
	testkit.Must(t, first.Add(0))
	testkit.Must(t, timer.Add(time.Second))
	testkit.Must(t, ticker.Add(time.Second))
	clock.Advance(time.Second)
	testkit.Run(t, l)
	testkit.WantEqual(t, "active after Break", l.Stats().Active, 2)
	testkit.Must(t, l.Close())
	for name, e := range map[string]*event.Event{"timer": timer, "ticker": ticker} {
		if e.Added() || e.Pending() != 0 {
			t.Errorf("%s: added %v, pending %v after Close", name, e.Added(), e.Pending())
		}
	}
}
