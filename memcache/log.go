package memcache

import (
	"bytes"

	"github.com/evmq/evmq/memcache/protocol"
)

// logRequest logs what a request has said and what it was answered, the first line of each: for verbosity 2. What was answered in
// pieces, because it was large, is not there any more.
func (w *worker) logRequest(said []byte) {
	answer := w.out[min(w.mark, len(w.out)):]
	if len(said) > 0 && said[0] == protocol.RequestMagic {
		w.log.Info("memcache: request", "conn", w.conn.ID(), "opcode", w.bin.Opcode, "key", string(w.bin.Key), "answered", len(answer))
		return
	}
	w.log.Info("memcache: request", "conn", w.conn.ID(), "line", firstLine(said), "answer", firstLine(answer))
}

// firstLine is p up to its first end of line.
func firstLine(p []byte) string {
	line, _, _ := bytes.Cut(p, []byte("\n"))
	return string(bytes.TrimSuffix(line, []byte("\r")))
}
