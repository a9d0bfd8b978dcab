package memcache

import (
	"bytes"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// binSASL serves the commands for authentication. The only mechanism is PLAIN: identity, name and password, separated by zero bytes.
func (w *worker) binSASL(s *session) {
	f := &w.bin
	if !w.config.SASL {
		w.status(protocol.UnknownCommand)
		return
	}
	if f.Command == protocol.BinSASLList {
		w.body(protocol.Success, "PLAIN")
		return
	}
	w.counts.add(authCmds, 1)
	words := bytes.Split(f.Value, []byte{0})
	if f.Command == protocol.BinSASLAuth && string(f.Key) == "PLAIN" && len(words) == 3 && w.config.Users.Check(words[1], words[2]) {
		s.known = true
		w.body(protocol.Success, "Authenticated")
		return
	}
	w.counts.add(authErrors, 1)
	w.status(protocol.AuthError)
}

// body answers with a status and a text.
func (w *worker) body(status protocol.Status, text string) {
	w.out = protocol.AppendResponse(w.out, &w.bin, status, 0, nil, nil, len(text))
	w.out = append(w.out, text...)
}
