package server

import (
	"fmt"
	"testing"
)

// Every other step panics and says from which state to which.
func TestAHandshakeTakesOnlyItsSteps(t *testing.T) {
	allowed := map[handshakeState][]handshakeState{
		handshakeNone:  {handshakeProxy, handshakeHello},
		handshakeProxy: {handshakeHello, handshakeDone},
		handshakeHello: {handshakeRuns},
		handshakeRuns:  {handshakeFull, handshakeDone},
		handshakeFull:  {handshakeRuns, handshakeDone},
		handshakeDone:  {handshakeHello},
	}
	for from := handshakeNone; from <= handshakeDone; from++ {
		may := map[handshakeState]bool{}
		for _, to := range allowed[from] {
			may[to] = true
		}
		for to := handshakeNone; to <= handshakeDone; to++ {
			want := ""
			if !may[to] {
				want = fmt.Sprintf("server: handshake: %v to %v", from, to)
			}
			if got := panicText(func() { from.to(to) }); got != want {
				t.Errorf("%v to %v: panic %q, want %q", from, to, got, want)
			}
		}
	}
}

// A handshake has begun when it has a goroutine or waits for one.
func TestAHandshakeIsUnderWayUntilItHasEnded(t *testing.T) {
	for _, test := range []struct {
		state           handshakeState
		name            string
		underWay, begun bool
	}{
		{handshakeNone, "none", false, false},
		{handshakeProxy, "PROXY header", true, false},
		{handshakeHello, "hello", true, false},
		{handshakeRuns, "runs", true, true},
		{handshakeFull, "full", true, true},
		{handshakeDone, "done", false, false},
	} {
		if s := test.state; s.String() != test.name || s.isUnderWay() != test.underWay || s.isBegun() != test.begun {
			t.Errorf("%v: under way %v, begun %v; want %s, %v, %v", s, s.isUnderWay(), s.isBegun(), test.name, test.underWay, test.begun)
		}
	}
}
