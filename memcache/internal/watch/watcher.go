package watch

import "strconv"

// A Sink receives the lines of a watcher. Its methods must not block.
type Sink interface {
	// Pending returns the number of bytes written that the client has not read.
	Pending() int
	// Write writes all of p or, with an error, nothing. It must not retain p.
	Write(p []byte) (int, error)
}

// A Watcher is a client that watches. Its fields are guarded by the hub's lock.
type Watcher struct {
	sink   Sink
	events Events
	limit  int    // bytes that may be pending
	after  uint64 // the number of the last line before the watcher was added

	room     int    // maximum length of the batch
	batch    []byte // lines to be written together
	lines    uint64 // number of lines in batch
	reported uint64 // skipped lines reported in batch
	skipped  uint64 // lines skipped since the last line in batch
	missed   uint64 // lines skipped since begin
}

// skipNote exceeds the length of the line about skipped lines.
const skipNote = len("skipped=\n") + 20

// begin begins a batch.
func (w *Watcher) begin() {
	w.room = w.limit - w.sink.Pending()
	w.batch, w.lines, w.reported, w.missed = w.batch[:0], 0, 0, 0
}

// add adds a line to the batch, after a line with the number of lines skipped before it. A line that does not fit is skipped.
func (w *Watcher) add(line []byte) {
	if len(w.batch)+len(line)+skipNote > w.room {
		w.skipped++
		w.missed++
		return
	}
	if w.skipped > 0 {
		w.batch = append(w.batch, "skipped="...)
		w.batch = strconv.AppendUint(w.batch, w.skipped, 10)
		w.batch = append(w.batch, '\n')
		w.reported += w.skipped
		w.skipped = 0
	}
	w.batch = append(w.batch, line...)
	w.lines++
}

// flush writes the batch, and returns the numbers of lines sent and skipped. A batch that the sink refuses is skipped.
func (w *Watcher) flush() (sent, skipped uint64) {
	if len(w.batch) > 0 {
		if _, err := w.sink.Write(w.batch); err == nil {
			sent = w.lines
		} else { // reported before the next line that is sent
			w.skipped += w.reported + w.lines
			w.missed += w.lines
		}
	}
	return sent, w.missed
}
