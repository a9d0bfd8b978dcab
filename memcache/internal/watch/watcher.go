package watch

import "strconv"

// A Sink is where a watcher's lines go. Its methods do not block.
type Sink interface {
	// Pending is how many bytes wait to be taken by the client.
	Pending() int
	// Write takes all of p or, with an error, nothing.
	Write(p []byte) (int, error)
}

// A Watcher is a client that watches. Its fields are guarded by the hub's lock.
type Watcher struct {
	sink   Sink
	events Events
	limit  int    // bytes that may wait
	after  uint64 // the number of the last line before it came

	room    int    // bytes that the batch may have
	batch   []byte // lines, to be written together
	lines   uint64 // how many there are in batch
	told    uint64 // lines that were skipped, as batch says
	skipped uint64 // lines that were skipped since the last line in batch
	missed  uint64 // lines that were skipped since begin
}

// skipNote is more than the length of the note about skipped lines.
const skipNote = len("skipped=\n") + 20

// begin begins a batch.
func (w *Watcher) begin() {
	w.room = w.limit - w.sink.Pending()
	w.batch, w.lines, w.told, w.missed = w.batch[:0], 0, 0, 0
}

// add adds a line to the batch, behind a note of how many lines were skipped before it. A line that does not fit is skipped.
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
		w.told += w.skipped
		w.skipped = 0
	}
	w.batch = append(w.batch, line...)
	w.lines++
}

// flush writes the batch, and returns how many lines were sent and how many were skipped. A batch that the sink refuses is skipped.
func (w *Watcher) flush() (sent, skipped uint64) {
	if len(w.batch) > 0 {
		if _, err := w.sink.Write(w.batch); err == nil {
			sent = w.lines
		} else { // the client is told with the next line that it is given, if it is still there
			w.skipped += w.told + w.lines
			w.missed += w.lines
		}
	}
	return sent, w.missed
}
