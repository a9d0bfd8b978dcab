package server

import (
	"fmt"
	"testing"

	"github.com/evmq/evmq/event"
)

// Each report changes the state to one that does not wait for it again, so that it is not reported in each turn.
func TestAConnectionThatIsNotReadReportsEachEndOnce(t *testing.T) {
	for _, test := range []struct {
		state peerHalf
		can   event.Features
		want  event.Flags
	}{
		{peerSends, event.FeatureClosed, event.Closed},
		{peerSends | peerDiscarded, event.FeatureClosed, event.Closed},
		{peerSends, 0, event.HangUp},
		{peerEnded, event.FeatureClosed, event.HangUp},
		{peerEnded, 0, event.HangUp},
		{peerEndReported, event.FeatureClosed, event.HangUp},
		{peerEnded | peerHungUp, event.FeatureClosed, 0},
		{peerEnded | peerHungUp, 0, 0},
	} {
		if got := test.state.watched(test.can); got != test.want {
			t.Errorf("%v, features %q: %v is watched, want %v", test.state, test.can, got, test.want)
		}
	}
}

// No two states have the same name.
func TestStatesHaveNames(t *testing.T) {
	for _, names := range [][]fmt.Stringer{
		{connOpen, connHalf, connBroken, connClosing, connClosed},
		{peerSends, peerEnded, peerEndRead, peerEndReported, peerDiscarded, peerHungUp, peerEnded | peerDiscarded | peerHungUp},
		{lifeNew, lifeDialing, lifeHandshake, lifeOpen, lifeHalfClosed, lifeFlushing, lifeLingering, lifeClosed, lifeRejected, lifeReleased},
		{holdWorker, holdInput, holdRequests, holdLimit, holdPause, holdOutput, holdYield, holdRate, holdWorker | holdPause},
		{schedState(0), schedRunning, schedQueued, schedRunning | schedQueued, schedRefused, schedRunning | schedQueued | schedRefused},
		{writeIdle, writeBlocked, writeThrottled},
		{drainNone, drainIdle, drainBusy, drainIdle | drainRead, drainBusy | drainRead},
		{layerProxy, layerRate, layerTLS, layerReadInto, layerTLS | layerRate},
		{phaseNone, phaseRequests, phaseOutgoing},
	} {
		seen := map[string]bool{}
		for _, s := range names {
			if seen[s.String()] || s.String() == "" {
				t.Errorf("%T %d is named %q", s, s, s.String())
			}
			seen[s.String()] = true
		}
	}
}

// Such a connection does not even take the output of requests in progress. In the other states it does.
func TestAConnectionTakesNoOutputWhenItIsBrokenOrClosed(t *testing.T) {
	for s, want := range map[connState]bool{connOpen: false, connHalf: false, connBroken: true, connClosing: false, connClosed: true} {
		if s.isDead() != want {
			t.Errorf("%v: isDead is %v", s, !want)
		}
	}
}

// In a shutdown, connections that clients have made end before those that the server has made.
func TestConnectionsEndInTheirPhase(t *testing.T) {
	for phase, want := range map[shutdownPhase][2]bool{phaseNone: {false, false}, phaseRequests: {true, false}, phaseOutgoing: {true, true}} {
		s := new(Server)
		s.phase.Store(uint32(phase))
		if got := [2]bool{s.drains(false), s.drains(true)}; got != want {
			t.Errorf("%v: incoming and outgoing connections end: %v, want %v", phase, got, want)
		}
	}
}

// TestDeadMarkFollowsTheStateOfTheConnection: which workers read without the lock. It does not change the generation.
func TestDeadMarkFollowsTheStateOfTheConnection(t *testing.T) {
	for from := connOpen; from <= connClosed; from++ {
		for to := from; to <= connClosed; to++ {
			c := &Conn{}
			c.ident.Store(7)
			c.setState(from)
			c.setState(to)
			if c.state != to || c.isDead() != to.isDead() || c.gen() != 7 {
				t.Errorf("from %v to %v: state %v, dead %v, generation %d", from, to, c.state, c.isDead(), c.gen())
			}
		}
	}
}
