package store

import "unsafe"

// putLarge stores a large value: v, whose pages become the item's, or the values, which are copied into pages.
func (e *Entry) putLarge(m *Meta, n int, v *Incoming, values [][]byte) error {
	s, whole := e.shard, n/pageBytes
	var exts []extent
	if v == nil {
		var err error
		if exts, err = e.copyPages(whole, values); err != nil {
			return err
		}
	}
	r := s.block(blockFor(len(e.key), inlineFor(n)))
	if r == 0 {
		for _, x := range exts {
			s.letGo(x)
		}
		return noRoom(n)
	}
	tail := e.fill(r, m, large, n).inline()
	if v == nil {
		copyFrom(tail, values, whole*pageBytes)
	} else {
		v.copyOut(tail, whole*pageBytes)
		exts = s.trimExtents(v.exts, whole)
		v.taken()
	}
	s.chain(r, exts)
	e.settle(r)
	return nil
}

// copyPages copies the beginning of the values into n pages.
func (e *Entry) copyPages(n int, values [][]byte) ([]extent, error) {
	s := e.shard
	old := extent(0)
	if e.ref != 0 && e.item().state&large != 0 {
		old = e.item().first()
		s.hold(old) // the values may lie there
	}
	if s.mayTake(n) != nil && old != 0 && !s.noEvict && !e.among(values) {
		s.unhold(old)
		old = 0
		e.Delete()
		s.pin = 0
	}
	err := s.mayTake(n)
	var exts []extent
	if err == nil {
		if exts, _ = s.takePages(n, true, nil); len(exts) == 0 {
			err = s.shortage(n)
		}
	}
	at := 0
	for _, x := range exts {
		p := s.extent(x)
		copyFrom(p, values, at)
		at += len(p)
	}
	s.unhold(old)
	return exts, err
}

// copyFrom copies what the values, one behind the other, have from a place on.
func copyFrom(to []byte, values [][]byte, from int) {
	for _, p := range values {
		if from < len(p) {
			to = to[copy(to, p[from:]):]
		}
		from = max(0, from-len(p))
	}
}

// among says whether any of the values lies in the value that there is.
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
