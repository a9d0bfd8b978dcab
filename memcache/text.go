package memcache

import (
	"bytes"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// command serves one line and what belongs to it.
func (s *session) command(p []byte) (used int, whole bool) {
	w := s.w
	end := bytes.IndexByte(p[s.scanned:], '\n')
	if end < 0 {
		s.scanned = len(p)
		if len(p) > protocol.MaxLine && !asksForMany(p) {
			w.quit = true
			return len(p), true
		}
		return 0, false
	}
	end += s.scanned
	s.scanned = 0
	line := p[:end]
	if n := len(line); n > 1 && line[n-1] == '\r' { // a lone CR is a word, as it is to memcached
		line = line[:n-1]
	}
	r := &w.req
	line = upToZero(line)
	why := protocol.Text(line, r)
	switch why {
	case protocol.None:
	case protocol.HTTP: // the headers and the body must not be executed
		w.quit = true
		return end + 1, true
	default:
		if why == protocol.BadExptime && r.Op == protocol.OpFlushAll && w.config.NoFlush {
			why = flushNotAllowed
		}
		w.unlessQuiet(string(why))
		w.unflushed = true
		s.discard(r.Follows)
		return end + 1, true
	}
	if r.Op.Stores() {
		n, whole := s.store(line, p[end+1:])
		if s.partial = n < 0; s.partial {
			return 0, false
		}
		return end + 1 + n, whole
	}
	switch r.Op {
	case protocol.OpGet, protocol.OpGets, protocol.OpGat, protocol.OpGats:
		s.getLook = w.lookOf()
		return s.get(line, r.Keys, end+1)
	}
	w.simple()
	w.unflushed = w.unflushed || r.Op != protocol.OpMetaNoop // memcached writes its answer at once, like that of a get
	return end + 1, true
}

// get serves a request for keys, the rest of a line. If some keys have to wait, they remain as the beginning of the line.
func (s *session) get(line, keys []byte, end int) (used int, whole bool) {
	rest := s.w.get(s.getLook, keys)
	s.moreKeys = len(rest) > 0
	if s.moreKeys {
		return len(line) - len(rest), false
	}
	return end, true
}

// getOn continues with keys that had to wait.
func (s *session) getOn(p []byte) (used int, whole bool) {
	end := bytes.IndexByte(p, '\n')
	keys := upToZero(bytes.TrimSuffix(p[:end], []byte("\r")))
	return s.get(keys, keys, end+1)
}

// upToZero ends a line at a zero byte, as memcached does.
func upToZero(line []byte) []byte {
	if i := bytes.IndexByte(line, 0); i >= 0 {
		return line[:i]
	}
	return line
}

// asksForMany reports whether the line is a get, which may have any number of keys.
func asksForMany(p []byte) bool {
	p = bytes.TrimLeft(p[:min(len(p), 100)], " ")
	return bytes.HasPrefix(p, []byte("get ")) || bytes.HasPrefix(p, []byte("gets "))
}

// simple serves a command without a value.
func (w *worker) simple() {
	switch r := &w.req; r.Op {
	case protocol.OpIncr, protocol.OpDecr:
		w.textArith()
	case protocol.OpTouch:
		w.textTouch()
	case protocol.OpDelete:
		w.textDelete()
	case protocol.OpFlushAll:
		w.textFlush()
	case protocol.OpVersion:
		w.line("VERSION " + Version)
	case protocol.OpVerbosity:
		w.SetVerbosity(int(r.Level))
		w.unlessQuiet("OK")
	case protocol.OpQuit:
		w.quit, w.bye = true, true
	case protocol.OpStats:
		w.textStats()
	case protocol.OpShutdown:
		w.textShutdown()
	case protocol.OpMemLimit:
		w.textMemLimit()
	case protocol.OpCrawler:
		w.textCrawler()
	case protocol.OpMetaGet:
		w.metaGet()
	case protocol.OpMetaDelete:
		w.metaDelete()
	case protocol.OpMetaArith:
		w.metaArith()
	case protocol.OpMetaNoop:
		w.line("MN")
	case protocol.OpMetaDebug:
		w.metaDebug()
	case protocol.OpRefreshCert:
		w.textRefresh()
	case protocol.OpSlabs:
		w.textSlabs()
	case protocol.OpLRU:
		w.textLRU()
	case protocol.OpExtstore:
		w.textExtstore()
	case protocol.OpWatch:
		w.textWatch()
	default:
		w.line(string(protocol.Unknown))
	}
}
