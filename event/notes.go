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

// flushNotes writes the lines. One whose logger panics is not written again, and those behind it wait for the next run. It is called
// with l.mu held and returns so.
func (l *Loop) flushNotes() {
	for range len(l.notes.lines) {
		line := l.notes.lines[0]
		l.notes.lines = l.notes.lines[1:]
		l.writeNote(line)
	}
	if n := l.notes.dropped; n > 0 {
		l.notes.dropped = 0
		l.writeNote(func() { l.log.Warn("event: more lines like these were dropped", "lines", n) })
	}
}

// writeNote writes a line without l.mu and locks it again, unless the logger panics.
func (l *Loop) writeNote(line func()) {
	l.mu.Unlock()
	line()
	l.mu.Lock()
}
