package memcache

import (
	"bytes"
	"slices"

	"github.com/evmq/evmq/memcache/protocol"
	"github.com/evmq/evmq/memcache/store"
	"github.com/evmq/evmq/server"
)

// wholeValue is how large a value may be, with its end, to be waited for in the connection's input. A larger one is collected in
// memory of its own, which becomes the store's.
const wholeValue = 16 << 10

// firstPiece is the memory that an announcement alone gets; then it is twice what has come, at most.
const firstPiece = 32 << 10

// minPlace is the least that is worth a read of its own.
const minPlace = 4 << 10

// A value is a large value that is coming.
type value struct {
	head []byte       // what announced it, to be read again when it is there
	got  *store.Large // what has come; nil: nothing
	need int          // bytes, the end included
}

// outOfMemory is the answer to what finds no room.
const (
	outOfMemory  = "SERVER_ERROR out of memory storing object"
	objectTooBig = "SERVER_ERROR object too large for cache"
	badDataChunk = "CLIENT_ERROR bad data chunk"
)

// store serves the text command in w.req, whose value begins in rest. n < 0: more has to come first, and the line again.
func (s *session) store(line, rest []byte) (n int, whole bool) {
	w := s.w
	r := &w.req
	switch {
	case !w.fits(len(r.Key), r.Flags, r.Size):
		w.counts.add(storeTooLarge, 1)
		w.forget(r.Op, r.Key)
		w.complain(objectTooBig)
		s.throwAway(r.Follows)
		return 0, true
	case r.Follows > wholeValue:
		s.value = &value{head: slices.Clone(line), need: r.Follows}
		n, whole = s.value.take(s, rest)
		return n, whole
	case len(rest) < r.Follows:
		return -1, false
	}
	w.textValue(rest[:r.Follows])
	return r.Follows, true
}

// textValue carries out the text command in w.req with its value and what ends it.
func (w *worker) textValue(p []byte) {
	r := &w.req
	if !bytes.HasSuffix(p, []byte("\r\n")) {
		w.complain(badDataChunk)
		return
	}
	o := order{op: r.Op, key: r.Key, flags: r.Flags, cas: r.CAS}
	if r.Op == protocol.OpMetaSet {
		w.metaSet(&o, p[:r.Size])
		return
	}
	o.expires = expiry(int64(r.Exptime), w.clock.Unix())
	what, _ := w.put(&o, p[:r.Size])
	w.unlessQuiet(what.text())
}

// take takes what has come of the value.
func (v *value) take(s *session, p []byte) (used int, whole bool) {
	w := s.w
	had := v.len()
	p = p[:min(len(p), v.need-had)]
	if !v.grow(w.Cache, had+len(p)) {
		s.value = nil
		v.drop(w.Cache)
		w.refuseValue(v)
		s.throwAway(v.need - had)
		return 0, true
	}
	v.got.Append(p)
	if v.got.Len() < v.need {
		return len(p), false
	}
	s.value = nil
	w.coming = v.got
	if s.speech == binaryFrames {
		w.lateFrame(v)
	} else {
		protocol.Text(v.head, &w.req)
		w.textValue(v.got.Bytes())
	}
	w.coming = nil
	v.drop(w.Cache)
	return len(p), true
}

func (v *value) len() int {
	if v.got == nil {
		return 0
	}
	return v.got.Len()
}

// place has what comes next of a large value read into its place, without a copy.
func (s *session) place(c *server.Conn) {
	if v := s.value; v != nil {
		room, left := v.got.Room(), v.need-v.got.Len()
		if len(room) >= min(left, minPlace) {
			c.ReadInto(room[:min(len(room), left)])
		}
	}
}

// grow makes room for n bytes in all, if all connections together may have it.
func (v *value) grow(c *Cache, n int) bool {
	had := 0
	if v.got != nil {
		if had = v.got.Cap(); n <= had {
			return true
		}
	}
	got := store.NewLarge(min(v.need, max(firstPiece, 2*n)))
	more := int64(got.Cap() - had)
	if c.pending.Add(more) > c.limit.Load() {
		c.pending.Add(-more)
		got.Return()
		return false
	}
	if v.got != nil {
		got.Append(v.got.Bytes())
		v.got.Return()
	}
	v.got = got
	return true
}

// drop gives the value's memory back, or leaves it to the store.
func (v *value) drop(c *Cache) {
	if v.got != nil {
		c.pending.Add(-int64(v.got.Cap()))
		v.got.Return()
		v.got = nil
	}
}

// refuseValue answers what announced a value for which there is no room.
func (w *worker) refuseValue(v *value) {
	w.counts.add(storeNoMemory, 1)
	if v.head[0] == protocol.RequestMagic {
		w.refuseFrame(v)
		return
	}
	protocol.Text(v.head, &w.req)
	w.forget(w.req.Op, w.req.Key)
	w.complain(outOfMemory)
}

// complain is unlessQuiet, except that a quiet meta command wants to hear of errors.
func (w *worker) complain(text string) {
	if w.req.Op == protocol.OpMetaSet {
		w.line(text)
		return
	}
	w.unlessQuiet(text)
}
