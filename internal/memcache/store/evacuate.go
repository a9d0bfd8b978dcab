package store

// evacuate empties a chunk of pages by moving the pages in use to free pages of other chunks. It reports whether one of the next few chunks
// could be emptied.
func (s *shard) evacuate() bool {
	c := s.emptiestPaged()
	if c == 0 {
		return false
	}
	s.moveAll(c)
	return true
}

// moveAll moves the extents of a chunk, none of which may be held, to other chunks, which must have enough free pages. The chunk is empty then.
func (s *shard) moveAll(c uint32) {
	from, to := extent(c*chunkPages), extent((c+1)*chunkPages)
	for e := from; e < to; {
		size := extent(1) << s.table[e].order
		if s.table[e].use == idle {
			s.unlistExtent(e)
		}
		e += size
	}
	for e := from; e < to; {
		size := extent(1) << s.table[e].order
		if s.table[e].use == owned {
			s.steps += int(size)
			s.moveExtent(e)
		}
		e += size
	}
	clear(s.table[from:to])
	s.undivide(c)
}

// emptiestPaged returns the chunk of pages with the most free pages among the next few without held pages, or 0.
func (s *shard) emptiestPaged() uint32 {
	best, most := uint32(0), 0
	for seen, i := 0, uint32(0); i < min(s.top, maxWalk) && seen < 16; i++ {
		n := s.walk()
		if !s.slots[n].paged {
			continue
		}
		free := s.freeOf(n)
		if free > 0 {
			seen++
		}
		if free > most {
			best, most = n, free
		}
	}
	if chunkPages-most > s.pages.free-most {
		return 0
	}
	return best
}

// freeOf returns the number of free pages of a chunk, or 0 if a page is held and so cannot move.
func (s *shard) freeOf(c uint32) int {
	if s.heldIn(c) {
		return 0
	}
	free := 0
	for e := extent(c * chunkPages); e < extent((c+1)*chunkPages); e += 1 << s.table[e].order {
		if t := &s.table[e]; t.use == idle {
			free += 1 << t.order
		}
	}
	return free
}

// heldIn reports whether any page of a chunk is held.
func (s *shard) heldIn(c uint32) bool {
	for e := extent(c * chunkPages); e < extent((c+1)*chunkPages); e += 1 << s.table[e].order {
		if s.table[e].lent > 0 {
			return true
		}
	}
	return false
}

// moveExtent copies the extent e of an item, which must not be held, to free extents, of which there must be enough.
func (s *shard) moveExtent(e extent) {
	t := s.table[e]
	from := s.extent(e)
	prev := t.prev
	for len(from) > 0 {
		to := s.takeLargest(len(from) / pageBytes)
		from = from[copy(s.extent(to), from):]
		n := &s.table[to]
		n.use, n.prev, n.next = owned, prev, 0
		if prev != 0 {
			s.table[prev].next = to
		} else {
			n.owner = t.owner
			s.item(t.owner).setFirst(to)
		}
		prev = to
	}
	s.table[prev].next = t.next
	if t.next != 0 {
		s.table[t.next].prev = prev
	}
}

// takeLargest takes the largest listed extent of at most n pages, or the beginning of an empty chunk.
func (s *shard) takeLargest(n int) extent {
	for order := orderFor(n); order >= 0; order-- {
		if e := s.takeListed(order); e != 0 {
			return e
		}
	}
	return s.split(s.divide(s.empty()), orderFor(n))
}
