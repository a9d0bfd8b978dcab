package event_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
)

// TestHangUpWaitsForTheEndOfBothDirections: it is silent about data and a half-close, and then told in each turn.
func TestHangUpWaitsForTheEndOfBothDirections(t *testing.T) {
	l := newLoop(t, nil)
	_, peer, fd, fp := pair(t)
	calls := 0
	e := eventFor(t, l, fd, event.HangUp|event.Persist, func(_ *event.Event, what event.Flags) {
		calls++
		wantEqual(t, "what", what, event.HangUp)
	})
	must(t, e.Add(event.NoTimeout))
	send(t, fp, "unread")
	must(t, unix.Shutdown(fp, unix.SHUT_WR))
	turns(t, l, 5)
	wantEqual(t, "calls before", calls, 0)
	must(t, peer.Close())
	turns(t, l, 5)
	if l.Backend() == "kqueue" {
		return // where the end of both directions of a socket shows in a read or a write
	}
	wantEqual(t, "calls", calls, 5)
	must(t, e.SetConditions(0))
	turns(t, l, 5)
	wantEqual(t, "calls when nothing is waited for", calls, 5)
}

// TestHangUpIsToldOfAResetAfterTheEnd of the peer's stream.
func TestHangUpIsToldOfAResetAfterTheEnd(t *testing.T) {
	for _, flags := range []event.Flags{event.HangUp, event.HangUp | event.Read} {
		l := newLoop(t, nil)
		_, peer, fd, fp := pair(t)
		var told event.Flags
		e := eventFor(t, l, fd, flags, func(_ *event.Event, what event.Flags) { told = what })
		must(t, e.SetConditions(event.HangUp))
		must(t, e.Add(event.NoTimeout))
		send(t, fd, "the peer does not read this")
		must(t, unix.Shutdown(fp, unix.SHUT_WR))
		turns(t, l, 3)
		wantEqual(t, "told before", told, 0)
		must(t, peer.Close()) // with unread input: a reset
		turns(t, l, 3)
		wantEqual(t, "told", told, event.HangUp)
		wantEqual(t, "added", e.Added(), false)
	}
}
