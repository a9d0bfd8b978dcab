package server

import "github.com/evmq/evmq/event"

// peerHalf is the state of the peer's half of a connection, and two flags. It only grows, except that the end is reported again if the
// handler is given one more request after it. Loop only.
type peerHalf uint8

const (
	peerSends       peerHalf = iota // the peer may send more
	peerEnded                       // the kernel has reported the end, which was not read yet
	peerEndRead                     // the end was read
	peerEndReported                 // the end was read and reported to the handler

	peerPhase peerHalf = 1<<2 - 1

	peerDiscarded peerHalf = 1 << 2 // CloseRead: input is discarded, and its end is not reported
	peerHungUp    peerHalf = 1 << 3 // a reset, or both halves are closed: the event waits for no condition any more
)

// String returns the state's name.
func (p peerHalf) String() string {
	s := [...]string{"sends", "ended", "end read", "end reported"}[p&peerPhase]
	if p&peerDiscarded != 0 {
		s += ", discarded"
	}
	if p&peerHungUp != 0 {
		s += ", hung up"
	}
	return s
}

func (p peerHalf) isEndRead() bool     { return p&peerPhase >= peerEndRead }
func (p peerHalf) isEndReported() bool { return p&peerPhase == peerEndReported }
func (p peerHalf) isDiscarded() bool   { return p&peerDiscarded != 0 }
func (p peerHalf) hasHungUp() bool     { return p&peerHungUp != 0 }

// reach returns the later phase of p and next, with the flags of both.
func (p peerHalf) reach(next peerHalf) peerHalf {
	return max(p&peerPhase, next&peerPhase) | (p|next)&^peerPhase
}

// unreported returns p before the end was reported: the handler is given input once more.
func (p peerHalf) unreported() peerHalf {
	if p.isEndReported() {
		return p&^peerPhase | peerEndRead
	}
	return p
}

// watched returns the condition that the event waits for while the server does not read. Its report changes the state, so that it is not
// reported in each turn.
func (p peerHalf) watched(can event.Features) event.Flags {
	switch {
	case p.hasHungUp():
		return 0
	case p&peerPhase == peerSends && can.Has(event.FeatureClosed):
		return event.Closed
	}
	return event.HangUp
}
