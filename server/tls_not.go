package server

import (
	"fmt"

	"github.com/evmq/evmq/internal/sock"
)

// firstBytes is the number of bytes that NotTLS is called with: those of a record's header.
const firstBytes = 5

// refuseNotTLS rejects a connection whose client does not speak TLS, with err, after the answer of ListenerConfig.NotTLS. Until the first bytes
// have arrived it waits, up to HandshakeTimeout.
func (c *loopConn) refuseNotTLS(err error) {
	t := c.ext.tls
	if t.notTLS != nil {
		first := t.pipe.First(firstBytes)
		if len(first) < firstBytes {
			return
		}
		var answer []byte
		c.guard(func() { answer = t.notTLS(first) })
		if len(answer) > 0 && !c.life.isGone() {
			c.dismiss(answer)
		}
	}
	c.fail(fmt.Errorf("%w: %w", ErrHandshake, err))
}

// dismiss sends text to the client of a connection that is about to end, by another descriptor, which is closed when the client has read it.
func (c *loopConn) dismiss(text []byte) {
	if fd, err := sock.Dup(c.ev.FD()); err == nil { // otherwise there is no descriptor for a refusal
		c.loop.dismiss(fd, text, nil)
	}
}
