package event_test

import (
	"os"
	"testing"

	"github.com/evmq/evmq/event"
)

// TestConditionsAreWhatWasSetLast: by NewEvent, by SetConditions, and by InitEvent.
func TestConditionsAreWhatWasSetLast(t *testing.T) {
	l, err := event.NewLoop(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	none := func(*event.Event, event.Flags) {}
	e, err := l.NewEvent(int(r.Fd()), event.Read|event.Persist, none)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []event.Flags{event.Read, event.Write, event.Read | event.Write, 0, event.HangUp} {
		if want != event.Read {
			if err := e.SetConditions(want); err != nil {
				t.Fatal(err)
			}
		}
		if got := e.Conditions(); got != want {
			t.Errorf("conditions are %v, want %v", got, want)
		}
	}
	if err := l.InitEvent(e, -1, event.Persist, none); err != nil {
		t.Fatal(err)
	}
	if got := e.Conditions(); got != 0 {
		t.Errorf("an event without a descriptor has the conditions %v", got)
	}
}
