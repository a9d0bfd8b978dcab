package memcache

import (
	"bytes"
	"sync"
	"time"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/server"
)

// wholeValue is the size in bytes, including the end of line, up to which a value is collected in the connection's input. A larger value is
// read into the store's memory.
const wholeValue = 16 << 10

// minPlace is the minimum number of bytes of a direct read into the store's memory.
const minPlace = 4 << 10

// A value is a large value that is being received.
type value struct {
	head []byte          // the request before the value, parsed again when the value is complete
	key  []byte          // of the item
	got  *store.Incoming // the bytes received
	need int             // bytes, including the end of line
}

// drop frees the value and its memory.
func (v *value) drop() {
	v.got.Free()
	*v = value{head: v.head, key: v.key}
	values.Put(v)
}

// expect begins to receive a large value.
func (s *session) expect(head, key []byte, need int) *value {
	v := values.Get().(*value)
	v.head, v.key = append(v.head[:0], head...), append(v.key[:0], key...)
	v.got, v.need = s.w.store.Receive(key, need, s.w.conn), need
	s.value = v
	return v
}

var values = sync.Pool{New: func() any { return &value{} }}

// Answers of the text protocol.
const (
	outOfMemory  = "SERVER_ERROR out of memory storing object"
	objectTooBig = "SERVER_ERROR object too large for cache"
	badDataChunk = "CLIENT_ERROR bad data chunk"
)

// store serves the text command in w.req, whose value begins in rest. If n < 0, it needs more input and is called with the line again.
func (s *session) store(line, rest []byte) (n int, whole bool) {
	w := s.w
	r := &w.req
	switch {
	case !w.fits(len(r.Key), r.Flags, r.Size):
		w.counts.add(storeTooLarge, 1)
		w.logRefused(opOfText(r), r.Key, tooLarge, r.Size)
		w.forget(r.Op, r.Key)
		w.complain(objectTooBig)
		s.discard(r.Follows)
		return 0, true
	case r.Follows <= wholeValue && len(rest) < r.Follows:
		return -1, false
	case w.joins() && !s.extend(r.Key, r.Size):
		return -1, false
	case r.Follows > wholeValue:
		return s.expect(line, r.Key, r.Follows).take(s, rest)
	}
	w.textValue(rest[:r.Follows])
	return r.Follows, true
}

// joins reports whether the text command in w.req appends or prepends its value.
func (w *worker) joins() bool {
	op := w.req.Op
	if op == protocol.OpMetaSet {
		op = opOfMode(w.req.Meta.Mode)
	}
	return op == protocol.OpAppend || op == protocol.OpPrepend
}

// textValue carries out the text command in w.req. p is the value and its end of line.
func (w *worker) textValue(p []byte) {
	w.unflushed = true
	if !bytes.HasSuffix(p, []byte("\r\n")) {
		w.complain(badDataChunk)
		return
	}
	w.textStore(p[:w.req.Size], nil)
}

// textStore carries out the text command in w.req. The value is p, or the beginning of v.
func (w *worker) textStore(p []byte, v *store.Incoming) {
	w.unflushed = true
	r := &w.req
	o := order{op: r.Op, key: r.Key, flags: r.Flags, cas: r.CAS, value: p, come: v, size: r.Size}
	if r.Op == protocol.OpMetaSet {
		w.metaSet(&o)
		return
	}
	o.expires = expiry(int64(r.Exptime), w.clock.Unix())
	what, _ := w.put(&o)
	w.unlessQuiet(what.text())
}

// take consumes input that belongs to the value, and serves the request when the value is complete.
func (v *value) take(s *session, p []byte) (used int, whole bool) {
	w := s.w
	p = p[:min(len(p), v.need-v.got.Len())]
	if err := v.got.Grow(len(p)); err != nil {
		if p := s.wait(err, v.key, min(v.need-v.got.Len(), store.ChunkBytes)); p != nil {
			v.got.Wait(p.over)
			return 0, false
		}
		left := v.need - v.got.Len()
		s.value = nil
		w.refuseValue(v)
		v.drop()
		s.discard(left)
		return 0, true
	}
	s.waitingSince = time.Time{}
	v.got.Append(p)
	if v.got.Len() < v.need {
		return len(p), false
	}
	defer func() { // also if the request panics
		s.value, w.coming = nil, nil
		v.drop()
	}()
	w.late(s, v)
	return len(p), true
}

// late carries out the request of a value that is complete.
func (w *worker) late(s *session, v *value) {
	if s.protocol == Binary {
		w.lateFrame(v)
		return
	}
	protocol.Text(v.head, &w.req)
	if !v.got.HasSuffix("\r\n") {
		w.complain(badDataChunk)
		return
	}
	w.textStore(nil, v.got)
}

// place arranges for the next bytes of a large value to be read directly into the store's memory.
func (s *session) place(c *server.Conn) {
	v := s.value
	if v == nil {
		return
	}
	left := v.need - v.got.Len()
	least := min(left, minPlace)
	if len(v.got.Room()) < least && v.got.Grow(least) != nil {
		return // take handles it when the next bytes arrive
	}
	if room := v.got.Room(); len(room) >= least {
		c.ReadInto(room[:min(len(room), left)])
	}
}

// refuseValue answers the request of a value for which there is no room.
func (w *worker) refuseValue(v *value) {
	w.counts.add(storeNoMemory, 1)
	if v.head[0] == protocol.RequestMagic {
		w.refuseFrame(v)
		return
	}
	protocol.Text(v.head, &w.req)
	w.logRefused(opOfText(&w.req), w.req.Key, noMemory, w.req.Size)
	w.forget(w.req.Op, w.req.Key)
	w.complain(outOfMemory)
}

// complain is unlessQuiet, except that errors are sent for quiet meta commands, too.
func (w *worker) complain(text string) {
	if w.req.Op == protocol.OpMetaSet {
		w.line(text)
		return
	}
	w.unlessQuiet(text)
}
