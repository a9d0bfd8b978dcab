package memcache

import (
	"errors"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/memcache/internal/watch"
)

// outcome is the result of a request to store.
type outcome uint8

const (
	stored outcome = iota
	notStored
	exists
	notFound
	tooLarge
	noMemory
)

// An order is a request to store whose value has been received.
type order struct {
	op      protocol.Op
	key     []byte
	flags   uint32
	expires int64
	cas     uint64 // 0: unconditional, except for OpCas
	stale   bool   // meta: an older unique number may still replace the value, which is stale then
	binary  bool   // meta: the key was written in base64

	size  int             // of the value, bytes
	value []byte          // the value, if come is nil
	come  *store.Incoming // otherwise begins with the value

	err error // of the store, if it has refused the value
}

// The store's bits of an item.
const (
	bitStale  = 1 << iota // meta: the value is stale
	bitWon                // meta: a client was asked to fetch the value anew
	bitBase64             // meta: the key was sent in base64
)

// put executes an order. It returns the item's unique number.
func (x *executor) put(o *order) (what outcome, cas uint64) {
	x.detail.set(o.key)
	e := x.look(o.key)
	defer e.Unlock()
	what, cas = x.place(&e, o)
	if x.hub.Wants(watch.Mutations) {
		x.logStore(&e, o, what, o.size)
	}
	return what, cas
}

// place is put in the entry of the order's key.
func (x *executor) place(e *store.Entry, o *order) (outcome, uint64) {
	e.CountSet(o.size)
	m := store.Meta{Flags: o.flags, Expires: o.expires}
	if o.binary {
		m.Bits = bitBase64
	}
	if !e.Found() {
		switch o.op {
		case protocol.OpCas:
			x.counts.add(casMisses, 1)
			return notFound, 0
		case protocol.OpReplace, protocol.OpAppend, protocol.OpPrepend:
			return notStored, 0
		}
		return x.finish(e, &m, o)
	}
	old := e.Meta()
	switch o.op {
	case protocol.OpAdd:
		e.Keep() // a client that adds an item is going to get it
		return notStored, 0
	case protocol.OpCas:
		switch {
		case o.cas != 0 && o.cas == old.CAS:
			e.Count(store.CAS)
		case o.stale && o.cas != 0 && o.cas < old.CAS:
			m.Expires = old.Expires
			m.Bits |= bitStale | old.Bits&bitWon
		default:
			e.Count(store.BadCAS)
			return exists, 0
		}
	case protocol.OpAppend, protocol.OpPrepend:
		if o.cas != 0 && o.cas != old.CAS {
			return exists, 0
		}
		m = store.Meta{Flags: old.Flags, Expires: old.Expires}
		if !x.fits(len(o.key), m.Flags, e.Len()+o.size) {
			return notStored, 0
		}
	}
	return x.finish(e, &m, o)
}

// finish stores the value. If a set fails, it removes the old value, as memcached does, so that no client uses it any longer.
func (x *executor) finish(e *store.Entry, m *store.Meta, o *order) (outcome, uint64) {
	m.CAS = x.nextCAS()
	var err error
	switch {
	case o.op == protocol.OpAppend, o.op == protocol.OpPrepend:
		err = e.Put(*m, x.join(e, o)...)
		clear(x.parts)
	case o.come != nil:
		err = e.PutLarge(*m, o.come, o.size)
	default:
		err = e.Put(*m, o.value)
	}
	if err == nil {
		return stored, m.CAS
	}
	o.err = err
	if o.op == protocol.OpSet && e.Found() {
		e.Delete()
	}
	if errors.Is(err, store.ErrTooLarge) {
		x.counts.add(storeTooLarge, 1)
		return tooLarge, 0
	}
	x.counts.add(storeNoMemory, 1)
	return noMemory, 0
}

// join returns the pieces of the old value with those of the appended or prepended one.
func (x *executor) join(e *store.Entry, o *order) [][]byte {
	parts := x.parts[:0]
	if o.op == protocol.OpAppend {
		parts = e.AppendParts(parts)
	}
	if o.come != nil {
		parts = o.come.AppendParts(parts, o.size)
	} else {
		parts = append(parts, o.value)
	}
	if o.op == protocol.OpPrepend {
		parts = e.AppendParts(parts)
	}
	x.parts = parts
	return parts
}

// nextCAS returns the next unique number, or 0 with NoCAS.
func (c *Cache) nextCAS() uint64 {
	if c.config.NoCAS {
		return 0
	}
	return c.store.NextCAS()
}

// forget removes the old value of a set that has failed, so that no client uses it any longer.
func (x *executor) forget(op protocol.Op, key []byte) {
	if op != protocol.OpSet && op != protocol.OpMetaSet {
		return
	}
	e := x.look(key)
	defer e.Unlock()
	e.Delete()
}

// text returns the answer of the text protocol.
func (what outcome) text() string {
	return [...]string{"STORED", "NOT_STORED", "EXISTS", "NOT_FOUND", objectTooBig, outOfMemory}[what]
}
