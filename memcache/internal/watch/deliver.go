package watch

import (
	"encoding/binary"
	"math"
)

// A record is a line with a head: its number, its length and its kind.
const (
	numberAt   = 0
	lengthAt   = numberAt + 8
	eventAt    = lengthAt + 2
	recordHead = eventAt + 1
)

// deliver passes the lines of all buffers to the watchers, in the order of their numbers. h.mu must be held.
func (h *Hub) deliver() {
	h.heads = h.heads[:0]
	for _, b := range h.buffers {
		if records := b.take(); len(records) > 0 {
			h.heads = append(h.heads, records)
		}
	}
	if len(h.heads) == 0 {
		return
	}
	for _, w := range h.watchers {
		w.begin()
	}
	for {
		number, event, line := h.next()
		if line == nil {
			break
		}
		for _, w := range h.watchers {
			if w.events&event != 0 && number > w.after {
				w.add(line)
			}
		}
	}
	for _, w := range h.watchers {
		sent, skipped := w.flush()
		h.sent += sent
		h.skipped += skipped
	}
}

// next removes the line with the lowest number from the heads. line is nil if none is left.
func (h *Hub) next() (number uint64, event Events, line []byte) {
	number = math.MaxUint64
	first := -1
	for i, head := range h.heads {
		if len(head) == 0 {
			continue
		}
		if n := binary.NativeEndian.Uint64(head[numberAt:]); n < number {
			first, number = i, n
		}
	}
	if first < 0 {
		return 0, 0, nil
	}
	head := h.heads[first]
	end := recordHead + int(binary.NativeEndian.Uint16(head[lengthAt:]))
	h.heads[first] = head[end:]
	return number, Events(head[eventAt]), head[recordHead:end]
}
