package msgqueue_test

import (
	"context"
	"testing"
)

// FuzzQueue decodes a schedule of calls: two bytes choose the bound and the budget, each further byte is a call with a small
// argument. The checks are those of the machine.
func FuzzQueue(f *testing.F) {
	const (
		push, turn, batch, ctx, wait, cancel, closing, other = 0 << 5, 1 << 5, 2 << 5, 3 << 5, 4 << 5, 5 << 5, 6 << 5, 7 << 5
	)
	for _, seed := range [][]byte{
		{},
		{0, 0, push, turn}, // bound 1, budget 1
		{2, 0, push, push, push, push, turn, turn, turn, push},                            // over the bound, one message a turn
		{3, 7, push | byte(actPush), push | byte(actPushBatch), turn, turn, turn},         // a callback that pushes
		{1, 3, push, push, wait, wait, turn, cancel | 1, turn},                            // waiting calls are admitted, or their contexts end
		{4, 1, batch | 4, push | byte(actPanic), push, turn, turn, turn, turn},            // a panic in between
		{9, 2, batch | 9, turn, closing, push},                                            // Close in the middle
		{9, 2, batch | 8, push | byte(actClose), batch | 1, turn, turn, turn, turn, turn}, // and inside a callback
		{6, 1, batch | 6, closing | 1, turn, turn, push, turn},                            // Shutdown that delivers
		{6, 1, batch | 6, closing | 1, turn, closing | 3},                                 // and whose loop is closed
		{6, 1, batch | 6, closing | 1, turn, closing},                                     // or that meets Close
		{6, 1, batch | 6, turn, closing | 2, turn},                                        // Shutdown whose context has ended
		{5, 9, batch | 5, wait, closing | 3, push, ctx, closing},                          // a loop that is closed first
		{255, 255, other | 31, other | 31, other | 31, turn, turn, other | 31, turn},      // several chunks
		{200, 100, other | 31, ctx | byte(actPushContext), turn, turn, closing | 2},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 || len(data) > 300 {
			return
		}
		m := newMachine(t, 1+bent(data[0]), 1+bent(data[1]))
		defer m.release()
		for _, b := range data[2:] {
			switch arg := int(b & 31); b &^ 31 {
			case push:
				m.push(action(arg))
			case turn:
				m.turn()
			case batch:
				m.pushBatch(arg, actNothing)
			case ctx:
				m.pushContext(action(arg), context.Canceled)
			case wait:
				m.wait(action(arg))
			case cancel:
				m.cancel(arg)
			case closing:
				[]func(){m.close, m.shutdown, m.shutdownNow, m.closeLoop}[arg%4]()
			case other:
				m.pushBatch(arg*10, action(arg))
			}
			m.compare()
		}
		m.end()
	})
}

// bent makes small numbers frequent and large ones possible.
func bent(b byte) int {
	if b < 16 {
		return int(b)
	}
	return 16 + (int(b)-16)*3
}
