package server

import "testing"

// The states follow as the table says, and each has a name.
func TestAnInputGoesFromOwnerToOwner(t *testing.T) {
	allowed := map[[2]inputState]bool{
		{inputWithLoop, inputQueued}:     true,
		{inputQueued, inputInProgress}:   true,
		{inputQueued, inputWithLoop}:     true,
		{inputQueued, inputAnswered}:     true,
		{inputInProgress, inputWithLoop}: true,
		{inputInProgress, inputAnswered}: true,
		{inputAnswered, inputWithLoop}:   true,
		{inputInProgress, inputDeferred}: true,
		{inputDeferred, inputWithLoop}:   true,
		{inputDeferred, inputAnswered}:   true,
		{inputQueued, inputEmptied}:      true,
		{inputEmptied, inputWithLoop}:    true,
	}
	for from := range inputState(len(inputStates)) {
		for to := range inputState(len(inputStates)) {
			in := &input{state: from}
			checkMove(t, from.String(), to.String(), allowed[[2]inputState{from, to}], func() { in.become(to) }, func() bool { return in.state == to })
		}
	}
	if len(inputNext) != len(inputStates) {
		t.Errorf("%d states, transitions of %d", len(inputStates), len(inputNext))
	}
}

// The phases follow as the table says, and each has a name.
func TestAReplyGoesFromPhaseToPhase(t *testing.T) {
	allowed := map[[2]replyPhase]bool{
		{replyEnded, replyEnded}:       true,
		{replyEnded, replyOpen}:        true,
		{replyOpen, replyOpen}:         true, // Flush
		{replyOpen, replyInPieces}:     true,
		{replyOpen, replyWaits}:        true,
		{replyOpen, replyEnded}:        true,
		{replyInPieces, replyInPieces}: true,
		{replyInPieces, replyOpen}:     true, // Flush
		{replyInPieces, replyWaits}:    true,
		{replyInPieces, replyEnded}:    true,
		{replyWaits, replyEnded}:       true,
		{replyOpen, replyLost}:         true,
		{replyInPieces, replyLost}:     true,
		{replyLost, replyEnded}:        true,
	}
	for from := range replyPhase(len(replyPhases)) {
		for to := range replyPhase(len(replyPhases)) {
			r := &replyState{phase: from}
			checkMove(t, from.String(), to.String(), allowed[[2]replyPhase{from, to}], func() { r.become(to) }, func() bool { return r.phase == to })
		}
	}
	if len(replyNext) != len(replyPhases) {
		t.Errorf("%d phases, transitions of %d", len(replyPhases), len(replyNext))
	}
}

// A deferred reply goes through its states as the table says, and each has a name.
func TestADeferredReplyGoesFromStateToState(t *testing.T) {
	allowed := map[[2]deferState]bool{
		{deferRuns, deferWaits}:   true,
		{deferRuns, deferClosed}:  true,
		{deferRuns, deferLost}:    true,
		{deferWaits, deferClosed}: true,
		{deferWaits, deferLost}:   true,
		{deferLost, deferClosed}:  true,
	}
	for from := range deferState(len(deferStates)) {
		for to := range deferState(len(deferStates)) {
			d := &deferral{state: from}
			checkMove(t, from.String(), to.String(), allowed[[2]deferState{from, to}], func() { d.become(to) }, func() bool { return d.state == to })
		}
	}
	if len(deferNext) != len(deferStates) {
		t.Errorf("%d states, transitions of %d", len(deferStates), len(deferNext))
	}
}

// checkMove checks that move succeeds if it is allowed, and panics otherwise.
func checkMove(t *testing.T, from, to string, allowed bool, move func(), moved func() bool) {
	t.Helper()
	if from == "" || to == "" {
		t.Errorf("a state has no name: %q, %q", from, to)
	}
	defer func() {
		if refused := recover() != nil; refused == allowed || !refused && !moved() {
			t.Errorf("from %s to %s: refused %v, allowed %v", from, to, refused, allowed)
		}
	}()
	move()
}

// The number changes once, so that a Reply that is kept is not the next one.
func TestAReplysNumberChangesWhenItEnds(t *testing.T) {
	in := &input{}
	first := in.beginReply()
	in.reply.end(replyWaits)
	in.reply.end(replyEnded)
	second := in.beginReply()
	if first.number == second.number || first.number+1 != second.number {
		t.Errorf("the numbers are %d and %d", first.number, second.number)
	}
}

// It returns the offset of a part, and false for other slices.
func TestOffsetInFindsAPartOfASlice(t *testing.T) {
	p := []byte("0123456789")
	for _, c := range []struct {
		p, sub []byte
		at     int
		ok     bool
	}{
		{p, p, 0, true}, {p, p[3:5], 3, true}, {p, p[9:], 9, true}, {p[2:8], p[2:2], 0, true}, {p[2:8], p[8:8], 6, true},
		{p[2:8], p[:3], 0, false}, {p[2:8], p[7:9], 0, false}, {p[2:8], p, 0, false}, {p, []byte("elsewhere"), 0, false}, {p[2:8], p[9:], 0, false},
	} {
		at, ok := offsetIn(c.p, c.sub)
		if ok != c.ok || ok && at != c.at {
			t.Errorf("%q in %q: %d, %v; want %d, %v", c.sub, c.p, at, ok, c.at, c.ok)
		}
	}
}
