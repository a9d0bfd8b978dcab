package store

import "unsafe"

// A chain is extents, one behind the other, that hold whole pages of one value. The entries of the page table link them, so a
// value needs no list of its own, however long it is.

// takePages appends extents of n pages, for which it makes room, or none. They are loose and held. If exact is false, the last extent may
// be larger than asked for, so that the pages lie in fewer pieces. got is the number of pages.
func (s *shard) takePages(n int, exact bool, to []extent) (exts []extent, got int) {
	had := len(to)
	for got < n {
		order := orderFor(n - got)
		if !exact && 1<<order < n-got && order < wholeOrder {
			order++
		}
		e := s.takeExtent(order)
		if e == 0 {
			if s.makePageRoom() {
				continue
			}
			for _, e := range to[had:] {
				s.held -= 1 << s.table[e].order
				s.releaseExtent(e)
			}
			return to[:had], 0
		}
		t := &s.table[e]
		t.use, t.lent = loose, 1
		got += 1 << t.order
		s.held += 1 << t.order
		to = append(to, e)
	}
	return to, got
}

// makePageRoom takes a step towards free pages, and reports whether there was one to take. Expired items go first, then those that
// eviction chooses. When the free blocks amount to more than a chunk, a chunk is emptied.
func (s *shard) makePageRoom() bool {
	evict := !s.noEvict || s.shrinking
	if evict && s.paged < s.mostPaged() && s.free > chunkUnits*3/2 && s.drain() {
		return true
	}
	if s.expire(s.patience()) > 0 {
		return true
	}
	if !evict {
		return false
	}
	r := s.victim()
	if r == 0 {
		return false
	}
	if s.mercy > 0 && !s.hasPages(r) {
		s.passOver(r)
		return true
	}
	s.evicted(r)
	s.remove(r)
	return true
}

// hasPages reports whether evicting the item r brings free pages nearer.
func (s *shard) hasPages(r ref) bool {
	if s.item(r).state&large == 0 {
		return s.paged < s.mostPaged()
	}
	return !s.lentOut(r)
}

// passOver keeps a victim whose memory would not serve.
func (s *shard) passOver(r ref) { s.spare(r) }

// lentOut reports whether the value of the item r is lent.
func (s *shard) lentOut(r ref) bool {
	it := s.item(r)
	return it.state&large != 0 && s.table[it.first()].lent > 0
}

// chain makes loose extents the value of the item r.
func (s *shard) chain(r ref, exts []extent) {
	prev := extent(0)
	for _, e := range exts {
		t := &s.table[e]
		n := 1 << t.order
		if t.lent--; t.lent == 0 {
			s.held -= n
		}
		s.mine += n
		t.use, t.prev, t.next, t.owner = owned, prev, 0, 0
		if prev != 0 {
			s.table[prev].next = e
		}
		prev = e
	}
	s.item(r).setFirst(exts[0])
	s.table[exts[0]].owner = r
}

// unchain ends the value that begins with e. What is lent becomes loose, the rest free.
func (s *shard) unchain(e extent) {
	for e != 0 {
		t := &s.table[e]
		next, n := t.next, 1<<t.order
		s.mine -= n
		t.next, t.prev, t.owner, t.use = 0, 0, 0, loose
		if t.lent == 0 {
			s.releaseExtent(e)
		} else {
			s.gone += n
		}
		e = next
	}
}

// unchainAll ends all values that items have.
func (s *shard) unchainAll() {
	for c := uint32(1); c < s.top; c++ {
		for i := extent(0); i < chunkPages && s.slots[c].paged; {
			e := extent(c)*chunkPages + i
			t := &s.table[e]
			i += 1 << t.order
			if t.use == owned {
				t.next = 0
				s.unchain(e)
			}
		}
	}
}

// hold keeps the value that begins with e where it is, until unhold.
func (s *shard) hold(e extent) {
	for ; e != 0; e = s.table[e].next {
		t := &s.table[e]
		if t.lent == 0 {
			s.held += 1 << t.order
		}
		t.lent++
	}
}

func (s *shard) unhold(e extent) {
	for e != 0 {
		next := s.table[e].next
		s.letGo(e)
		e = next
	}
}

// letGo ends one hold of an extent, which is free if it was the last one and the extent is loose.
func (s *shard) letGo(e extent) {
	t := &s.table[e]
	if t.lent--; t.lent > 0 {
		return
	}
	s.held -= 1 << t.order
	if t.use == loose {
		s.releaseExtent(e)
	}
}

// trimExtents frees what the loose extents have beyond n pages.
func (s *shard) trimExtents(exts []extent, n int) []extent {
	for i := 0; i < len(exts); i++ {
		e := exts[i]
		size := 1 << s.table[e].order
		switch {
		case n >= size:
			n -= size
		case n == 0:
			s.letGo(e)
			exts = append(exts[:i], exts[i+1:]...)
			i--
		default:
			order := s.table[e].order - 1
			s.table[e].order = order
			rest := e + 1<<order
			s.table[rest] = page{use: loose, lent: 1, order: order}
			exts = append(exts, 0)
			copy(exts[i+2:], exts[i+1:])
			exts[i+1] = rest
			i--
		}
	}
	return exts
}

// appendParts appends the memory of the value that begins with e. Extents that lie side by side are one part.
func (s *shard) appendParts(parts [][]byte, e extent) [][]byte {
	last := extent(0) // the page behind the last extent
	for ; e != 0; e = s.table[e].next {
		parts = s.appendPart(parts, e, last)
		last = e + 1<<s.table[e].order
	}
	return parts
}

// appendPart appends the memory of e to the parts, or to the last one, if that ends before e in the same chunk.
func (s *shard) appendPart(parts [][]byte, e, last extent) [][]byte {
	p := s.extent(e)
	if n := len(parts); n > 0 && e == last && int(e)%chunkPages != 0 {
		before := len(parts[n-1])
		parts[n-1] = unsafe.Slice(unsafe.SliceData(parts[n-1]), before+len(p))
		return parts
	}
	return append(parts, p)
}
