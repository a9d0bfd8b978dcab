package store

import "unsafe"

// A chain is a linked list of the extents that hold the whole pages of one value. The links are in the page table, so a value of any length
// needs no list of its own.

// takePages makes room for n pages and appends their extents, loose and held, or appends nothing. If exact is false, the last extent may be
// larger than needed, so that the value has fewer pieces. got is the number of pages.
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

// makePageRoom takes one step towards free pages, and reports whether a step was possible. It removes expired items first, then victims of
// eviction. When the free blocks add up to more than a chunk, it empties a chunk instead.
func (s *shard) makePageRoom() bool {
	evict := !s.noEvict || s.shrinking
	if evict && s.paged < s.mostPaged() && s.free > chunkUnits*3/2 && s.drain() {
		return true
	}
	if s.expire(s.searchSteps()) > 0 {
		return true
	}
	if !evict {
		return false
	}
	r := s.victim()
	if r == 0 {
		return false
	}
	if s.reinserts > 0 && !s.hasPages(r) {
		s.reinsert(r) // its memory would not help
		return true
	}
	s.evicted(r)
	s.remove(r)
	return true
}

// hasPages reports whether the eviction of the item r contributes to free pages.
func (s *shard) hasPages(r ref) bool {
	if s.item(r).state&large == 0 {
		return s.paged < s.mostPaged()
	}
	return !s.lentOut(r)
}

// lentOut reports whether the value of the item r is lent.
func (s *shard) lentOut(r ref) bool {
	it := s.item(r)
	return it.state&large != 0 && s.table[it.first()].lent > 0
}

// chain links loose extents as the value of the item r.
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

// unchain removes the value that begins with e from its item. Extents that are lent become loose, the others free.
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

// unchainAll is unchain for the values of all items.
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

// hold keeps the extents of the value that begins with e in place until unhold.
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
		s.releaseHold(e)
		e = next
	}
}

// releaseHold releases one hold of an extent. A loose extent without holds is freed.
func (s *shard) releaseHold(e extent) {
	t := &s.table[e]
	if t.lent--; t.lent > 0 {
		return
	}
	s.held -= 1 << t.order
	if t.use == loose {
		s.releaseExtent(e)
	}
}

// trimExtents frees the pages of loose extents beyond the first n, and returns the extents of those n.
func (s *shard) trimExtents(exts []extent, n int) []extent {
	for i := 0; i < len(exts); i++ {
		e := exts[i]
		size := 1 << s.table[e].order
		switch {
		case n >= size:
			n -= size
		case n == 0:
			s.releaseHold(e)
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

// appendParts appends the memory of the value that begins with e. Adjacent extents form one part.
func (s *shard) appendParts(parts [][]byte, e extent) [][]byte {
	last := extent(0) // the page behind the last extent
	for ; e != 0; e = s.table[e].next {
		parts = s.appendPart(parts, e, last)
		last = e + 1<<s.table[e].order
	}
	return parts
}

// appendPart appends the memory of e as a new part, or extends the last part if it ends where e begins, in the same chunk.
func (s *shard) appendPart(parts [][]byte, e, last extent) [][]byte {
	p := s.extent(e)
	if n := len(parts); n > 0 && e == last && int(e)%chunkPages != 0 {
		before := len(parts[n-1])
		parts[n-1] = unsafe.Slice(unsafe.SliceData(parts[n-1]), before+len(p))
		return parts
	}
	return append(parts, p)
}
