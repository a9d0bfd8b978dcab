package websocket

import (
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// A partial is a message of which some frames have arrived.
type partial struct {
	kind       MessageType
	compressed bool
	buf        []byte
	checked    int // bytes of buf that are known to be valid UTF-8; for Text
	counted    int // bytes counted in Handler.fragments
}

// maxKept is the largest capacity of a buffer that is used again.
const maxKept = 64 << 10

var partials = sync.Pool{New: func() any { return new(partial) }}

// addPart adds the payload of a frame to the message that is not complete.
func (c *Conn) addPart(h ws.Header, payload []byte) error {
	m := c.partial
	if m == nil {
		m = partials.Get().(*partial)
		m.kind, m.compressed = MessageType(h.OpCode), h.Rsv == rsv1
		c.partial = m
		c.messageBegins()
	}
	m.buf = append(m.buf, payload...)
	grown := cap(m.buf) - m.counted
	m.counted += grown
	if grown > 0 && !c.h.holds(&c.h.fragments, int64(grown)) {
		return violation(CloseTryAgainLater, "")
	}
	if m.kind == Text && !m.compressed && !m.checkText(h.Fin) {
		return violation(CloseInvalidData, "text is not UTF-8")
	}
	return nil
}

// holds adds n bytes of messages to sum. It reports whether MaxFragments permits them.
func (h *Handler) holds(sum *atomic.Int64, n int64) bool {
	total := sum.Add(n)
	return h.cfg.MaxFragments <= 0 || total <= h.cfg.MaxFragments
}

// checkText checks the bytes that were added. The last character may be incomplete unless the message ends.
func (m *partial) checkText(final bool) bool {
	rest := m.buf[m.checked:]
	if final {
		m.checked = len(m.buf)
		return utf8.Valid(rest)
	}
	for i := 1; i <= min(utf8.UTFMax-1, len(rest)); i++ {
		if last := rest[len(rest)-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				rest = rest[:len(rest)-i]
			}
			break
		}
	}
	m.checked += len(rest)
	return utf8.Valid(rest)
}

// dropPartial discards the message that is not complete, if there is one. The caller has the input, or the connection has ended.
func (c *Conn) dropPartial() {
	if m := c.partial; m != nil {
		c.partial = nil
		c.h.dropPartial(m)
	}
}

// dropPartial ends the use of m.
func (h *Handler) dropPartial(m *partial) {
	h.fragments.Add(int64(-m.counted))
	if cap(m.buf) > maxKept {
		m.buf = nil
	}
	*m = partial{buf: m.buf[:0]}
	partials.Put(m)
}
