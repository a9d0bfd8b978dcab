package store

import "unsafe"

// putLarge stores a large value: v, whose pages become the item's, or the values, which are copied into pages.
func (e *Entry) putLarge(m *Meta, n int, v *Incoming, values [][]byte) error {
	s, whole := e.shard, n/pageBytes
	var exts []extent
	if v == nil {
		if s.mayTake(whole) != nil && e.inTheWay(whole) && !e.among(values) {
			e.forget()
		}
		var err error
		if exts, err = e.copyPages(whole, values); err != nil {
			return err
		}
	}
	r := s.block(blockFor(len(e.key), inlineFor(n)))
	if r == 0 {
		for _, x := range exts {
			s.releaseHold(x)
		}
		return noRoom(n)
	}
	tail := e.fill(r, m, large, n).inline()
	if v == nil {
		copyFrom(tail, values, whole*pageBytes)
	} else {
		v.copyOut(tail, whole*pageBytes)
		exts = s.trimExtents(v.exts, whole)
		s.receiving.remove(v)
		v.taken()
	}
	s.chain(r, exts)
	e.unholdOld()
	e.publish(r)
	return nil
}

// copyPages copies the beginning of the values into n pages.
func (e *Entry) copyPages(n int, values [][]byte) ([]extent, error) {
	s := e.shard
	if err := s.mayTake(n); err != nil {
		return nil, err
	}
	exts, got := s.takePages(n, true, nil)
	if got == 0 {
		return nil, s.shortage(n)
	}
	at := 0
	for _, x := range exts {
		p := s.extent(x)
		copyFrom(p, values, at)
		at += len(p)
	}
	return exts, nil
}

// holdOld keeps the pages of the old value, a large one, in place while the new one is made, which may be copied from them.
func (e *Entry) holdOld() {
	e.held = e.item().first()
	e.shard.hold(e.held)
}

func (e *Entry) unholdOld() {
	e.shard.unhold(e.held)
	e.held = 0
}

// inTheWay reports whether there is room for n pages once the item has been removed.
func (e *Entry) inTheWay(n int) bool {
	s := e.shard
	return e.held != 0 && s.table[e.held].lent == 1 && !s.noEvict && s.mayTake(n-e.item().paged()) == nil
}

// forget removes the item before its new value is stored. The new value must not be copied from it.
func (e *Entry) forget() {
	e.unholdOld()
	e.Delete()
	e.shard.pin = 0
}

// copyFrom copies the concatenation of the values, beginning with offset from.
func copyFrom(to []byte, values [][]byte, from int) {
	for _, p := range values {
		if from < len(p) {
			to = to[copy(to, p[from:]):]
		}
		from = max(0, from-len(p))
	}
}

// among reports whether any of the values overlaps the old value.
func (e *Entry) among(values [][]byte) bool {
	for _, own := range e.AppendParts(nil) {
		for _, p := range values {
			if len(p) > 0 && len(own) > 0 && overlap(own, p) {
				return true
			}
		}
	}
	return false
}

func overlap(a, b []byte) bool {
	first, second := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return first < second+uintptr(len(b)) && second < first+uintptr(len(a))
}
