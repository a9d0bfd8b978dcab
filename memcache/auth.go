package memcache

import (
	"bytes"

	"github.com/evmq/evmq/memcache/protocol"
)

// authenticate takes a text client's first command: a set, of whatever key, whose value is "name password".
func (s *session) authenticate(p []byte) (used int, whole bool) {
	w := s.w
	if !s.asked {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			if len(p) > protocol.MaxLine {
				w.quit = true
				return len(p), true
			}
			return 0, false
		}
		line := bytes.TrimSuffix(p[:end], []byte("\r"))
		if protocol.IsHTTP(upToZero(line)) {
			w.quit = true
			return end + 1, true
		}
		size, ok := protocol.AuthSize(line)
		if !ok || size > maxCredentials {
			w.line("CLIENT_ERROR unauthenticated")
			return end + 1, true
		}
		s.asked, s.skip = true, size+2
		return end + 1, false
	}
	if len(p) < s.skip {
		return 0, false
	}
	credentials := p[:s.skip]
	used = s.skip
	s.asked, s.skip = false, 0
	w.line(w.check(s, credentials))
	return used, true
}

// maxCredentials is how long "name password" may be.
const maxCredentials = 1024

// check looks at "name password" and its end, and returns the answer.
func (w *worker) check(s *session, credentials []byte) string {
	credentials, ok := bytes.CutSuffix(credentials, []byte("\r\n"))
	if !ok {
		return "CLIENT_ERROR bad command line termination"
	}
	name, rest, _ := protocol.NextKey(credentials)
	password, _, ok := protocol.NextKey(rest)
	if !ok {
		return "CLIENT_ERROR bad authentication token format"
	}
	w.counts.add(authCmds, 1)
	if !w.config.Users.Check(name, password) {
		w.counts.add(authErrors, 1)
		return "CLIENT_ERROR authentication failure"
	}
	s.known = true
	return "STORED"
}
