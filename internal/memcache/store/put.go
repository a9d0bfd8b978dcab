package store

import "fmt"

// Put stores the concatenation of the values in place of the item, if there is one. The values are copied; they may be parts of e.Value or
// e.AppendParts. If there is no error, e is the new item until Unlock, even if its Expires has passed or a FlushThrough covers the second; no
// later Lock finds the item then. Errors: ErrTooLarge, ErrNoMemory, ErrLent; the old item is unchanged then.
func (e *Entry) Put(m Meta, values ...[]byte) error {
	n := 0
	for _, p := range values {
		n += len(p)
	}
	return e.put(&m, n, nil, values)
}

// PutLarge is Put for the first n bytes of a value that was received for the key. It copies only the bytes that do not fill a page, and leaves v
// without memory. After an error v is unchanged.
func (e *Entry) PutLarge(m Meta, v *Incoming, n int) error {
	if n >= largeMin && v.shard == e.shard && v.generation == e.shard.generation {
		return e.put(&m, n, v, nil)
	}
	var parts [8][]byte
	return e.put(&m, n, nil, v.AppendParts(parts[:0], n))
}

// put stores n bytes: the values, or the beginning of v.
func (e *Entry) put(m *Meta, n int, v *Incoming, values [][]byte) error {
	s := e.shard
	if len(e.key) > maxKey || headSize+len(e.key)+n > s.maxItem {
		return fmt.Errorf("%w: key of %d bytes, value of %d", ErrTooLarge, len(e.key), n)
	}
	s.busy = true
	if s.flushed.second != 0 {
		s.freeFlushed()
	}
	s.pin = e.ref
	if v == nil && e.ref != 0 && e.item().state&large != 0 {
		e.holdOld()
	}
	err := e.place(m, n, v, values)
	if err == nil {
		e.past = m.gone(s.now)
		s.pin = e.ref
		s.class(s.item(e.ref)).Total++
		s.tend()
	} else {
		s.classes[classOf(int64(headSize+len(e.key)+n))].Refused++
	}
	if e.held != 0 {
		e.unholdOld()
	}
	s.pin = 0
	s.busy = false
	return err
}

// place stores n bytes in place of the item.
func (e *Entry) place(m *Meta, n int, v *Incoming, values [][]byte) error {
	switch {
	case n >= largeMin:
		return e.putLarge(m, n, v, values)
	case len(values) == 1 && e.fits(n):
		e.putInPlace(m, values[0])
		return nil
	}
	return e.putSmall(m, n, values)
}

// fits reports whether a small value of n bytes fits into the block of the item.
func (e *Entry) fits(n int) bool {
	if e.ref == 0 {
		return false
	}
	it := e.item()
	return it.state&large == 0 && it.size >= blockFor(len(e.key), n)
}

// putInPlace writes a small value over another one.
func (e *Entry) putInPlace(m *Meta, value []byte) {
	s, it := e.shard, e.item()
	before := s.size(it)
	it.value = uint32(len(value))
	copy(it.inline(), value)
	s.trim(e.ref, blockFor(len(e.key), len(value)))
	s.resized(e.ref, before)
	e.overwritten(it, m)
}

// putSmall stores a small value in a new block.
func (e *Entry) putSmall(m *Meta, n int, values [][]byte) error {
	r := e.shard.block(blockFor(len(e.key), n))
	if r == 0 {
		return noRoom(n)
	}
	b := e.fill(r, m, 0, n).inline()
	for _, v := range values {
		b = b[copy(b, v):]
	}
	e.unholdOld()
	e.publish(r)
	return nil
}

func noRoom(n int) error { return fmt.Errorf("%w: no room for %d bytes", ErrNoMemory, n) }

// fill writes the head and the key of an item into the block r.
func (e *Entry) fill(r ref, m *Meta, kind state, n int) *item {
	it := e.shard.item(r)
	it.state, it.key, it.hash = used|kind, uint8(len(e.key)), e.hash
	it.value = uint32(n)
	it.expires = e.expires(m)
	copy(it.bytes(), e.key)
	e.renew(it, m)
	return it
}

// renew sets the access time and the metadata of an item whose value is stored.
func (e *Entry) renew(it *item, m *Meta) {
	it.access = e.shard.now
	it.flags, it.cas, it.bits = m.Flags, m.CAS, m.Bits
}

// overwritten is renew for an item whose value was overwritten in place. For eviction it is a use.
func (e *Entry) overwritten(it *item, m *Meta) {
	e.shard.setExpires(e.ref, e.expires(m))
	it.state = it.state&^fetched | referenced
	e.renew(it, m)
}

// publish makes r the item of the entry.
func (e *Entry) publish(r ref) {
	if e.ref == 0 {
		e.shard.link(r)
	} else {
		e.shard.replace(e.ref, r)
	}
	e.ref = r
}

// Overwrite overwrites the value with one of the same length, and reports whether it did: it does not if the lengths differ or the value has
// 16 KB or more. Meta, LastAccess and Fetched are unchanged.
func (e *Entry) Overwrite(value []byte) bool {
	it := e.item()
	if it.state&large != 0 || int(it.value) != len(value) {
		return false
	}
	copy(it.inline(), value)
	return true
}
