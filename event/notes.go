package event

// notes are log lines that wait until the loop can write them: where they arise its lock is held, into which a logger must not
// run. A loop that sleeps is woken for them.
type notes struct {
	lines   []func()
	dropped int // lines beyond maxNotes
}

// maxNotes bounds the lines that wait, since a loop that is not run writes none.
const maxNotes = 64

// note has a line logged by the loop once its lock is not held. Under l.mu.
func (l *Loop) note(line func()) {
	if len(l.notes.lines) == maxNotes {
		l.notes.dropped++
		return
	}
	l.notes.lines = append(l.notes.lines, line)
	l.claim()
}

// flushNotes writes the lines. It is called with l.mu held and returns so.
func (l *Loop) flushNotes() {
	if len(l.notes.lines) == 0 {
		return
	}
	due := l.notes
	l.notes = notes{}
	l.mu.Unlock()
	for _, line := range due.lines {
		line()
	}
	if due.dropped > 0 {
		l.log.Warn("event: more lines like these were dropped", "lines", due.dropped)
	}
	l.mu.Lock()
}
