package memcache

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/evmq/evmq/internal/logqueue"
	"github.com/evmq/evmq/memcache/protocol"
	"github.com/evmq/evmq/server"
)

// logRequest logs what a request has said and what it was answered, the first line of each, for verbosity 2: never a value, and
// nothing of who is still to authenticate. The answer to a large value is not there yet, and one that was itself large is not any more.
func (s *session) logRequest(said []byte) {
	w := s.w
	if !w.log.Enabled(context.Background(), slog.LevelInfo) { // or the line would be made, and left out
		return
	}
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

// maxLogged is how much of a line is logged, in bytes.
const maxLogged = 256

// firstLine is p up to its first end of line, or its first maxLogged bytes.
func firstLine(p []byte) string {
	p = p[:min(len(p), maxLogged)]
	line, _, _ := bytes.Cut(p, []byte("\n"))
	return string(bytes.TrimSuffix(line, []byte("\r")))
}

// logClosed logs that a connection has ended for a reason of which verbosity 1 is to know.
func (c *Cache) logClosed(conn *server.Conn, reason error) {
	if c.verbosity.Load() > 0 && c.log.Enabled(context.Background(), slog.LevelWarn) {
		c.log.Warn("memcache: connection closed", "conn", conn.ID(), "peer", conn.RemoteAddr(), "reason", reason)
	}
}

// logPatience is how long Close waits for what was logged to be written.
const logPatience = time.Second

// queueLog puts a queue before the user's logger, since the loops log and must not wait. A logger that has one, as the program's, is
// used as it is.
func (c *Cache) queueLog(user *slog.Logger) {
	if user == nil {
		user = slog.Default()
	}
	c.log = user
	if _, queued := user.Handler().(*logqueue.Handler); !queued {
		c.logs = logqueue.New(user.Handler(), logqueue.Config{})
		c.log = slog.New(c.logs)
	}
}

// closeLog writes what was logged, if there is a queue of the cache's.
func (c *Cache) closeLog() {
	if c.logs == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), logPatience)
	defer cancel()
	_ = c.logs.Close(ctx) // an output that takes nothing is left alone
}
