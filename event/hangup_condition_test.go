package event_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// TestHangUpWaitsForTheEndOfBothDirections: it is silent about data and a half-close, and then told in each turn.
func TestHangUpWaitsForTheEndOfBothDirections(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, peer, fd, fp := pair(t)
	calls := 0
	e := eventFor(t, l, fd, event.HangUp|event.Persist, func(_ *event.Event, what event.Flags) {
		calls++
		testkit.WantEqual(t, "what", what, event.HangUp)
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	send(t, fp, "unread")
	testkit.Must(t, unix.Shutdown(fp, unix.SHUT_WR))
	turns(t, l, 5)
	testkit.WantEqual(t, "calls before", calls, 0)
	testkit.Must(t, peer.Close())
	turns(t, l, 5)
	if l.Backend() == "kqueue" {
		return // where the end of both directions of a socket shows in a read or a write
	}
	testkit.WantEqual(t, "calls", calls, 5)
	testkit.Must(t, e.SetConditions(0))
	turns(t, l, 5)
	testkit.WantEqual(t, "calls when nothing is waited for", calls, 5)
}

// TestHangUpIsReportedForAResetAfterTheEnd of the peer's stream.
func TestHangUpIsReportedForAResetAfterTheEnd(t *testing.T) {
	for _, flags := range []event.Flags{event.HangUp, event.HangUp | event.Read} {
		l := testkit.NewLoop(t, nil)
		_, peer, fd, fp := pair(t)
		var told event.Flags
		e := eventFor(t, l, fd, flags, func(_ *event.Event, what event.Flags) { told = what })
		testkit.Must(t, e.SetConditions(event.HangUp))
		testkit.Must(t, e.Add(event.NoTimeout))
		send(t, fd, "the peer does not read this")
		testkit.Must(t, unix.Shutdown(fp, unix.SHUT_WR))
		turns(t, l, 3)
		testkit.WantEqual(t, "told before", told, 0)
		testkit.Must(t, peer.Close()) // with unread input: a reset
		turns(t, l, 3)
		testkit.WantEqual(t, "told", told, event.HangUp)
		testkit.WantEqual(t, "added", e.Added(), false)
	}
}
