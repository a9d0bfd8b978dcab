package sse

// An entry is an event that was sent.
type entry struct {
	id   string
	text []byte // as the stream has it; it does not change
}

// A history has the latest events of a Group, at most maxEvents, of at most maxBytes together. The newest one may be larger. Under the
// group's mu.
type history struct {
	maxEvents, maxBytes int

	entries []entry        // from first on, the oldest first
	first   int            // the number of entries[0] among all events
	numbers map[string]int // of the entries, by ID
	bytes   int
}

// add adds an event, and removes the oldest ones above the limits.
func (h *history) add(e entry) {
	if h.maxEvents <= 0 {
		h.first++
		return
	}
	if h.numbers == nil {
		h.numbers = make(map[string]int)
	}
	h.numbers[e.id] = h.end()
	h.entries = append(h.entries, e)
	h.bytes += len(e.text)
	drop := 0
	for ; len(h.entries)-drop > h.maxEvents || h.bytes > h.maxBytes && len(h.entries)-drop > 1; drop++ {
		old := &h.entries[drop]
		h.bytes -= len(old.text)
		if h.numbers[old.id] == h.first+drop { // otherwise a newer event has the same ID
			delete(h.numbers, old.id)
		}
		*old = entry{}
	}
	h.entries, h.first = h.entries[drop:], h.first+drop
}

// after returns the number of the event after the one with the ID. If the history does not have that one, it is the number of the oldest event.
func (h *history) after(id string) (number int, known bool) {
	number, known = h.numbers[id]
	if !known {
		return h.first, false
	}
	return number + 1, true
}

// end returns the number of the next event.
func (h *history) end() int { return h.first + len(h.entries) }

// from returns the events from the one with the number on, which is not older than the oldest. The caller does not change them.
func (h *history) from(number int) []entry { return h.entries[number-h.first:] }
