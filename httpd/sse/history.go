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
		return
	}
	if h.numbers == nil {
		h.numbers = make(map[string]int)
	}
	h.numbers[e.id] = h.first + len(h.entries)
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

// after returns the events after the one with the ID, and whether there is one. The caller does not change them.
func (h *history) after(id string) (entries []entry, known bool) {
	number, ok := h.numbers[id]
	if !ok {
		return h.entries, false
	}
	return h.entries[number+1-h.first:], true
}
