package store

import (
	"fmt"
)

// Put stores the values one behind the other, in place of what there was. They may be parts of e.Value, and are copied. If the new
// Expires has been, or FlushThrough has it so, nothing is stored and what there was is gone. After an error everything is as it
// was; it is ErrTooLarge or ErrNoMemory.
func (e *Entry) Put(m Meta, values ...[]byte) error { return e.put(&m, nil, values) }

// PutLarge is Put with the first n bytes of a value that has not been stored, without a copy unless they are few. The caller's
// reference stays the caller's.
func (e *Entry) PutLarge(m Meta, v *Large, n int) error {
	values := [1][]byte{v.data[:n]}
	if n < largeMin {
		v = nil
	}
	return e.put(&m, v, values[:])
}

// put stores the values, or v, whose first bytes they are.
func (e *Entry) put(m *Meta, v *Large, values [][]byte) error {
	s, n := e.shard, 0
	for _, p := range values {
		n += len(p)
	}
	if len(e.key) > maxKey || headSize+len(e.key)+n > s.maxItem {
		return fmt.Errorf("%w: key of %d bytes, value of %d", ErrTooLarge, len(e.key), n)
	}
	if m.gone(s.now) || s.now == s.voided && s.voided != 0 {
		e.Delete()
		return nil
	}
	s.pin = e.ref
	var ok bool
	switch {
	case n >= largeMin:
		if v == nil {
			v = gather(n, values)
			defer v.Return()
		}
		v.data = v.data[:n]
		ok = e.putLarge(m, v)
	case len(values) == 1 && e.fits(n):
		e.putInPlace(m, values[0])
		ok = true
	default:
		ok = e.putSmall(m, n, values)
	}
	if ok {
		s.pin = e.ref
		s.class(s.item(e.ref)).Total++
		s.tend()
	}
	s.pin = 0
	if !ok {
		size := int64(headSize + len(e.key) + n)
		s.classes[classOf(size)].Refused++
		return fmt.Errorf("%w: no room for %d bytes", ErrNoMemory, size)
	}
	return nil
}

// fits says whether a small value of n bytes fits into the block that the entry has.
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

// putSmall gives a small value a block.
func (e *Entry) putSmall(m *Meta, n int, values [][]byte) bool {
	r := e.shard.block(blockFor(len(e.key), n))
	if r == 0 {
		return false
	}
	b := e.fill(r, m, 0, n).inline()
	for _, v := range values {
		b = b[copy(b, v):]
	}
	e.settle(r)
	return true
}

// putLarge stores a large value, if there was one, in its place.
func (e *Entry) putLarge(m *Meta, v *Large) bool {
	s, need := e.shard, v.weight()
	if lent := s.lent.Load(); lent > 0 && lent+need > s.limit/2 {
		return false // or others would have to go for values that are gone
	}
	if e.ref != 0 && e.item().state&large != 0 {
		it := e.item()
		if old := s.larges.of(it); old.refs.Load() == 1 {
			need -= old.weight()
		}
		if !s.afford(need) {
			return false
		}
		v.enter(s)
		before := s.size(it)
		s.larges.replace(number(it), v)
		it.value = uint32(v.Len())
		s.resized(e.ref, before)
		e.overwritten(it, m)
		return true
	}
	// Evicting the last large value drops the table, so there must be room for its first group in any case.
	if !s.afford(need + max(s.larges.needs(), groupBytes+growth[byte](nil))) {
		return false
	}
	v.enter(s)
	i := s.larges.put(v)
	r := s.block(blockFor(len(e.key), largeRef))
	if r == 0 {
		s.larges.remove(i)
		return false
	}
	setNumber(e.fill(r, m, large, v.Len()), i)
	e.settle(r)
	return true
}

// gather copies the values into one.
func gather(n int, values [][]byte) *Large {
	v := NewLarge(n)
	for _, p := range values {
		v.Append(p)
	}
	return v
}

// fill writes the head and the key of an item into the block r.
func (e *Entry) fill(r ref, m *Meta, kind state, n int) *item {
	it := e.shard.item(r)
	it.state, it.key, it.hash = used|kind, uint8(len(e.key)), e.hash
	it.value = uint32(n)
	it.expires = m.expires()
	copy(it.bytes(), e.key)
	e.renew(it, m)
	return it
}

// renew writes what a value stored brings.
func (e *Entry) renew(it *item, m *Meta) {
	it.access = e.shard.now
	it.flags, it.cas, it.bits = m.Flags, m.CAS, m.Bits
}

// overwritten is renew for an item whose value has another one's place. Eviction sees that as a use.
func (e *Entry) overwritten(it *item, m *Meta) {
	e.shard.setExpires(e.ref, m.expires())
	it.state = it.state&^fetched | wanted
	e.renew(it, m)
}

// settle makes the item r the entry's.
func (e *Entry) settle(r ref) {
	if e.ref == 0 {
		e.shard.link(r)
	} else {
		e.shard.replace(e.ref, r)
	}
	e.ref = r
}

// Overwrite writes a value of the same length over the one that there is, and says whether it did: not if the length differs, or the
// value is Shared. Meta, LastAccess and Fetched stay.
func (e *Entry) Overwrite(value []byte) bool {
	it := e.item()
	if it.state&large != 0 || int(it.value) != len(value) {
		return false
	}
	copy(it.inline(), value)
	return true
}
