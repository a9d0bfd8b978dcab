package memcache

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/evmq/evmq/internal/logqueue"
	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/server"
)

// logRequest logs the first lines of a request and of its answer with verbosity 2. It never logs a value, and nothing before a client has
// authenticated. The answer to a request with a large value is not available yet, and an answer with a large value has already been written.
func (s *session) logRequest(said []byte) {
	w := s.w
	if !w.log.Enabled(context.Background(), slog.LevelInfo) { // avoids formatting a line that would be dropped
		return
	}
	answer := w.out[min(w.mark, len(w.out)):]
	var f protocol.Frame
	if s.protocol == Binary {
		if len(said) >= protocol.HeaderLen && protocol.Header(said, &f) {
			w.log.Info("memcache: request", "conn", w.conn.ID(), "opcode", f.Opcode, "body", f.Body, "answered", len(answer))
		}
		return
	}
	w.log.Info("memcache: request", "conn", w.conn.ID(), "line", firstLine(said), "answer", firstLine(answer))
}

// maxLogged is the number of bytes of a line that are logged.
const maxLogged = 256

// firstLine returns p up to its first end of line, or its first maxLogged bytes.
func firstLine(p []byte) string {
	p = p[:min(len(p), maxLogged)]
	line, _, _ := bytes.Cut(p, []byte("\n"))
	return string(bytes.TrimSuffix(line, []byte("\r")))
}

// logClosed logs with verbosity 1 that a connection was closed for a reason other than the client's or a shutdown.
func (c *Cache) logClosed(conn *server.Conn, reason error) {
	if c.verbosity.Load() > 0 && c.log.Enabled(context.Background(), slog.LevelWarn) {
		c.log.Warn("memcache: connection closed", "conn", conn.ID(), "peer", conn.RemoteAddr(), "reason", reason)
	}
}

// logTimeout is the time for which Close waits for the log to be written.
const logTimeout = time.Second

// queueLog puts a queue before the user's logger, since loops log and must not wait. A logger with such a queue, like that of evcached, is used
// directly.
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

// closeLog writes the records in the cache's own queue, if it has one.
func (c *Cache) closeLog() {
	if c.logs == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), logTimeout)
	defer cancel()
	_ = c.logs.Close(ctx) // an output that blocks is abandoned
}
