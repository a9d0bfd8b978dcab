package memcache

import (
	"bytes"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// authenticate serves the first command of a text client: a set, with any key, whose value is "name password".
func (s *session) authenticate(p []byte) (used int, whole bool) {
	w := s.w
	if s.login != nil {
		return s.takeLogin(p)
	}
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
	if !ok {
		w.line("CLIENT_ERROR unauthenticated")
		return end + 1, true
	}
	s.login = &login{left: size + 2}
	return end + 1, false
}

// takeLogin consumes input that belongs to the value, and answers when the value is complete.
func (s *session) takeLogin(p []byte) (used int, whole bool) {
	l := s.login
	used = min(l.left, len(p))
	l.add(p[:used])
	if l.left > 0 {
		return used, false
	}
	s.login = nil
	s.w.line(s.w.check(s, l))
	return used, true
}

// maxWord is the maximum length of a name or a password in bytes.
const maxWord = 1024

// A login is the value of a set before a client has authenticated: two words; memcached ignores the rest. The value may have any length. Only
// the words are kept, up to maxWord bytes of each.
type login struct {
	left   int       // bytes to be received, including the end of line
	words  [2][]byte // name and password
	found  int       // number of words begun
	inWord bool
	over   bool    // a zero byte was received, at which memcached ends the value
	long   bool    // a word is longer than maxWord
	last   [2]byte // the last bytes received, to check the end of line
}

// add adds the next bytes.
func (l *login) add(p []byte) {
	for _, c := range p[max(0, len(p)-len(l.last)):] {
		l.last[0], l.last[1] = l.last[1], c
	}
	value := p[:max(0, min(len(p), l.left-len(l.last)))] // without the end of line
	l.left -= len(p)
	if l.over {
		return
	}
	if i := bytes.IndexByte(value, 0); i >= 0 {
		value, l.over = value[:i], true
	}
	for l.found <= len(l.words) {
		if !l.inWord {
			if value = bytes.TrimLeft(value, " "); len(value) == 0 {
				return
			}
			l.inWord = true
			l.found++
		}
		part, rest, ended := bytes.Cut(value, []byte(" "))
		l.addTo(l.found, part)
		if !ended {
			return
		}
		value, l.inWord = rest, false
	}
}

// addTo appends to word n. Words after the password are ignored.
func (l *login) addTo(n int, part []byte) {
	if n > len(l.words) {
		return
	}
	word := &l.words[n-1]
	if l.long = l.long || len(*word)+len(part) > maxWord; !l.long {
		*word = append(*word, part...)
	}
}

// check verifies name and password, and returns the answer.
func (w *worker) check(s *session, l *login) string {
	switch {
	case string(l.last[:]) != "\r\n":
		return "CLIENT_ERROR bad command line termination"
	case l.found < len(l.words):
		return "CLIENT_ERROR bad authentication token format"
	}
	w.counts.add(authCmds, 1)
	if l.long || !w.config.Users.Check(l.words[0], l.words[1]) {
		w.counts.add(authErrors, 1)
		return "CLIENT_ERROR authentication failure"
	}
	s.known = true
	return "STORED"
}
