package event

// pendingLog holds log records until the loop can write them: they arise while its lock is held, and a logger must not be called
// then. A sleeping loop is woken to write them.
type pendingLog struct {
	records []func()
	dropped int // records beyond maxPendingLog
}

// maxPendingLog bounds the records that wait, since a loop that does not run writes none.
const maxPendingLog = 64

// logLater makes the loop call record, which logs, when its lock is not held. Under l.mu.
func (l *Loop) logLater(record func()) {
	if len(l.pendingLog.records) == maxPendingLog {
		l.pendingLog.dropped++
		return
	}
	l.pendingLog.records = append(l.pendingLog.records, record)
	l.wakeOnUnlock()
}

// writeLog writes the records. If the logger panics, its record is not written again, and the following ones wait for the next run.
// It is called with l.mu held and returns with l.mu held.
func (l *Loop) writeLog() {
	for range len(l.pendingLog.records) {
		record := l.pendingLog.records[0]
		l.pendingLog.records = l.pendingLog.records[1:]
		l.writeRecord(record)
	}
	if n := l.pendingLog.dropped; n > 0 {
		l.pendingLog.dropped = 0
		l.writeRecord(func() { l.log.Warn("event: records like these were dropped", "records", n) })
	}
}

// writeRecord calls record without l.mu and locks it again, unless the logger panics.
func (l *Loop) writeRecord(record func()) {
	l.mu.Unlock()
	record()
	l.mu.Lock()
}
