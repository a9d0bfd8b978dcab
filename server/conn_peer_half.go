package server

import "github.com/evmq/evmq/event"

// peerHalf is the peer's half of a connection: how far the loop has come towards its end, and two marks. It only grows, but for the end
// that is told again when the handler has still been given a request. Loop only.
type peerHalf uint8

const (
	peerSends   peerHalf = iota // the peer may send more
	peerEnded                   // the kernel has reported the end, which is not read yet
	peerEndRead                 // the end was read
	peerEndTold                 // and the handler was told

	peerPhase peerHalf = 1<<2 - 1

	peerDiscarded peerHalf = 1 << 2 // what the peer sends is discarded, and its end is not told: CloseRead
	peerHungUp    peerHalf = 1 << 3 // nothing more is to be learned without a read or a write: a reset, or both halves are closed
)

// String is the state's name.
func (p peerHalf) String() string {
	s := [...]string{"sends", "ended", "end read", "end told"}[p&peerPhase]
	if p&peerDiscarded != 0 {
		s += ", discarded"
	}
	if p&peerHungUp != 0 {
		s += ", hung up"
	}
	return s
}

func (p peerHalf) isEndRead() bool   { return p&peerPhase >= peerEndRead }
func (p peerHalf) isEndTold() bool   { return p&peerPhase == peerEndTold }
func (p peerHalf) isDiscarded() bool { return p&peerDiscarded != 0 }
func (p peerHalf) isHungUp() bool    { return p&peerHungUp != 0 }

// reach returns p in a phase, at least, with marks.
func (p peerHalf) reach(next peerHalf) peerHalf {
	return max(p&peerPhase, next&peerPhase) | (p|next)&^peerPhase
}

// untold returns p before the handler was told of the end: it is given input once more.
func (p peerHalf) untold() peerHalf {
	if p.isEndTold() {
		return p&^peerPhase | peerEndRead
	}
	return p
}

// watched is what a connection that is not read from waits for. Neither condition is reported again and again after the loop has
// heard of it, since the state has changed then.
func (p peerHalf) watched(can event.Features) event.Flags {
	switch {
	case p.isHungUp():
		return 0
	case p&peerPhase == peerSends && can.Has(event.FeatureClosed):
		return event.Closed
	}
	return event.HangUp
}
