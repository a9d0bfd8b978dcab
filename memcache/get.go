package memcache

import (
	"strconv"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
)

// A look is the parameters of get, gets, gat and gats except the keys.
type look struct {
	unique  bool
	touch   bool
	expires int64
}

// lookOf returns the parameters of the get in w.req.
func (w *worker) lookOf() (l look) {
	switch r := &w.req; r.Op {
	case protocol.OpGets:
		l.unique = true
	case protocol.OpGat, protocol.OpGats:
		l.unique, l.touch = r.Op == protocol.OpGats, true
		l.expires = expiry(int64(r.Exptime), w.clock.Unix())
	}
	return l
}

// get serves a request for keys. It returns the keys that have to wait until the connection has room for more answers.
func (w *worker) get(l look, keys []byte) (rest []byte) {
	for {
		key, rest, ok := protocol.NextKey(keys)
		if !ok {
			break
		}
		switch {
		case w.conn == nil && len(w.out) > maxAnswer:
			return nil // the answer will not be sent
		case w.conn != nil && (len(w.out) >= maxOut || w.done()):
			return keys
		}
		keys = rest
		large, found := w.getOne(l, key)
		w.detail.get(key, found)
		if found {
			w.large(large)
			w.end()
		}
	}
	w.line("END")
	return nil
}

// getOne appends the answer for one key, without its end. It leaves a large value to the caller.
func (w *worker) getOne(l look, key []byte) (large *store.Lease, found bool) {
	e := w.look(key)
	defer e.Unlock()
	if !e.Found() {
		w.countMiss(l.touch)
		return nil, false
	}
	m := e.Meta()
	e.UseAs(opOfGet(l.touch))
	if l.touch {
		touched := m
		touched.Expires = l.expires
		e.SetMeta(touched)
	}
	return w.appendItem(key, &e, &m, l.unique), true
}

// appendItem appends the answer to get for an item, except a large value and the end.
func (w *worker) appendItem(key []byte, e *store.Entry, m *store.Meta, unique bool) (large *store.Lease) {
	b := w.out
	b = append(b, "VALUE "...)
	b = append(b, key...)
	b = append(b, ' ')
	b = appendUint(b, uint64(m.Flags))
	b = append(b, ' ')
	b = appendUint(b, uint64(e.Len()))
	if unique {
		b = append(b, ' ')
		b = appendUint(b, m.CAS)
	}
	b = append(b, '\r', '\n')
	w.out = b
	return w.value(e)
}

// appendUint is strconv.AppendUint, but faster for numbers of one digit, like most flags.
func appendUint(b []byte, n uint64) []byte {
	if n < 10 {
		return append(b, '0'+byte(n))
	}
	return strconv.AppendUint(b, n, 10)
}

// opOfGet returns the operation as which a get is counted if there is an item.
func opOfGet(touch bool) store.Op {
	if touch {
		return store.Touch
	}
	return store.Get
}

// countMiss counts a get for which there is no item.
func (x *executor) countMiss(touch bool) {
	if touch {
		x.counts.add(touchMisses, 1)
		return
	}
	x.counts.add(getMisses, 1)
}
