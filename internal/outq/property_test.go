package outq

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// end empties all queues. After that nothing is left of blocks or completions.
func (m *machine) end() {
	for _, s := range m.sides {
		for len(s.items) > 0 {
			m.advance(s, 1<<30)
			m.advanceFile(s, 1<<30)
		}
		m.compare(s)
		if s.q.first.buf != nil {
			s.q.Free()
		}
	}
}

// The bytes come out as they came in, in order. A completion is returned once, exactly when the last byte before it has gone.
// No call changes the bytes that a Peek has returned.
func TestQueueIsTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type call struct{ op, side, n int }
		side := rapid.SampledFrom([]int{0, 0, 0, 1, 2})
		size := rapid.OneOf(
			rapid.IntRange(0, 100),
			rapid.IntRange(0, 500),
			rapid.IntRange(0, 5000),
			rapid.SampledFrom([]int{smallBlock - 1, smallBlock, smallBlock + 1, largeBlock, largeBlock + 1, smallBlock + largeBlock, 70000}),
		)
		length := rapid.SampledFrom([]int{3, 10, 30, 100, 200}).Draw(rt, "length")
		calls := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) call {
			return call{rapid.IntRange(0, len(ops)-1).Draw(rt, "op"), side.Draw(rt, "side"), size.Draw(rt, "n")}
		}), length, length).Draw(rt, "calls")
		m := newMachine(rt)
		for _, c := range calls {
			m.step(ops[c.op], c.side, c.n)
		}
		m.end()
	})
}

// FuzzQueue decodes calls, four bytes each: which one, of which queue, and a number of two bytes.
func FuzzQueue(f *testing.F) {
	index := make(map[string]byte)
	for i, o := range ops {
		index[o.name] = byte(i)
	}
	seed := func(calls ...any) { // name, side, number, ...
		var data []byte
		for i := 0; i < len(calls); i += 3 {
			data = append(data, index[calls[i].(string)], byte(calls[i+1].(int)))
			data = binary.BigEndian.AppendUint16(data, uint16(calls[i+2].(int)))
		}
		f.Add(data)
	}
	seed("append", 0, 64, "peek", 0, 100, "append", 0, 10, "advance", 0, 64, "free", 0, 0, "advanceAll", 0, 0, "free", 0, 0)
	seed("append", 0, 10, "append", 0, 10000, "peekMany", 0, 0, "append", 0, 8000, "advance", 0, 3000, "append", 0, 40000, "fail", 0, 0)
	seed("append", 0, 6, "appendOwned", 0, 4096, "append", 0, 8, "appendOwned", 0, 300, "append", 0, 2, "advance", 0, 4102, "advanceAll", 0, 0)
	seed("notify", 2, 0, "appendFile", 2, 0, "appendFile", 2, 50, "append", 2, 9, "advanceFile", 2, 20, "dropFile", 2, 0, "notify", 2, 0, "fail", 2, 0)
	seed("append", 1, 6, "appendOwned", 1, 99, "append", 1, 7, "append", 0, 5, "splice", 0, 1, "append", 0, 1, "append", 1, 2, "splice", 2, 1)
	seed("append", 2, 3000, "notify", 2, 0, "append", 2, 14000, "splice", 0, 2, "append", 0, 10, "peekMany", 0, 0, "splice", 0, 1, "advanceAll", 0, 0)
	seed("notify", 0, 0, "notify", 0, 0, "appendFile", 0, 5, "notify", 0, 0, "dropFile", 0, 0, "advance", 0, 0)
	seed("append", 0, 9, "appendOwned", 0, 9, "append", 0, 9, "appendOwned", 0, 9, "advance", 0, 10, "append", 0, 20, "advanceAll", 0, 0)
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMachine(t)
		for i := 0; i+3 < min(len(data), 400); i += 4 {
			m.step(ops[int(data[i])%len(ops)], int(data[i+1]), int(binary.BigEndian.Uint16(data[i+2:])))
		}
		m.end()
	})
}
