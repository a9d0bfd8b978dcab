package memcache

import (
	"bytes"

	"github.com/evmq/evmq/memcache/protocol"
)

// logRequest logs what a request has said and what it was answered, the first line of each, for verbosity 2: never a value, and
// nothing of who is still to authenticate. The answer to a large value is not there yet, and one that was itself large is not any more.
func (s *session) logRequest(said []byte) {
	w := s.w
	answer := w.out[min(w.mark, len(w.out)):]
	var f protocol.Frame
	if s.speech == binaryFrames {
		if len(said) >= protocol.HeaderLen && protocol.Header(said, &f) {
			w.log.Info("memcache: request", "conn", w.conn.ID(), "opcode", f.Opcode, "body", f.Body, "answered", len(answer))
		}
		return
	}
	w.log.Info("memcache: request", "conn", w.conn.ID(), "line", firstLine(said), "answer", firstLine(answer))
}

// firstLine is p up to its first end of line.
func firstLine(p []byte) string {
	line, _, _ := bytes.Cut(p, []byte("\n"))
	return string(bytes.TrimSuffix(line, []byte("\r")))
}
