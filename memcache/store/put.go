package store

import (
	"fmt"
	"slices"
)

// Put stores the values one behind the other, in place of what there was. They may be parts of e.Value, and are copied. If the
// new Expires has been, or FlushThrough has it so, nothing is stored and what there was is gone. After an error everything is as it was; it is ErrTooLarge or
// ErrNoMemory.
func (e *Entry) Put(m Meta, values ...[]byte) error { return e.put(&m, false, values) }

// PutOwned is Put with a value whose array is the store's from now on, if the error is nil: nobody may write to it. A large
// value is not copied then, unless its array is much longer than itself.
func (e *Entry) PutOwned(m Meta, value []byte) error {
	values := [1][]byte{value}
	return e.put(&m, true, values[:])
}

func (e *Entry) put(m *Meta, owned bool, values [][]byte) error {
	s, n := e.shard, 0
	for _, v := range values {
		n += len(v)
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
		ok = e.putLarge(m, n, owned, values)
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
	s.count(it, s.size(it), -1)
	it.value = uint32(len(value))
	copy(it.inline(), value)
	s.trim(e.ref, blockFor(len(e.key), len(value)))
	s.count(it, s.size(it), 1)
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
func (e *Entry) putLarge(m *Meta, n int, owned bool, values [][]byte) bool {
	s := e.shard
	var data []byte
	if owned && cap(values[0]) <= n+n/8 {
		data = values[0]
	} else {
		data = gather(n, values)
	}
	need := weigh(data)
	if lent := s.lent.Load(); lent > 0 && lent+need > s.limit/2 {
		return false // or others would have to go for values that are gone
	}
	if e.ref != 0 && e.item().state&large != 0 {
		it := e.item()
		v := s.larges.of(it)
		if v.refs.Load() == 1 {
			need -= v.weight()
		}
		if !s.afford(need) {
			return false
		}
		s.count(it, s.size(it), -1)
		s.larges.replace(number(it), s.newLarge(data))
		it.value = uint32(n)
		s.count(it, s.size(it), 1)
		e.overwritten(it, m)
		return true
	}
	// Evicting the last large value drops the table, so there must be room for its first group in any case.
	if !s.afford(need + max(s.larges.needs(), groupBytes+growth[byte](nil))) {
		return false
	}
	i := s.larges.put(s.newLarge(data))
	r := s.block(blockFor(len(e.key), largeRef))
	if r == 0 {
		s.larges.remove(i)
		return false
	}
	setNumber(e.fill(r, m, large, n), i)
	e.settle(r)
	return true
}

// gather copies the values into one piece of memory. append says by its capacity what the heap gave, which is what counts.
func gather(n int, values [][]byte) []byte {
	if len(values) == 1 {
		return append([]byte(nil), values[0]...)
	}
	data := slices.Grow([]byte(nil), n)
	for _, v := range values {
		data = append(data, v...)
	}
	return data
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
