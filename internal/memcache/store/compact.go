package store

// scattered is the inverse of the free part of the arena, and of a chunk, from which chunks are compacted.
const scattered = 16

// gatherFree compacts one of the next few chunks, if at least 1/scattered of it and at least n units are free. It reports whether it did.
func (s *shard) gatherFree(n uint16) bool {
	c := s.emptiest()
	if c == 0 || s.slots[c].free < max(n, chunkUnits/scattered) {
		return false
	}
	s.compact(ref(c << chunkBits))
	return true
}

// compact moves the items of the chunk lo to its front.
func (s *shard) compact(lo ref) {
	to, prev := lo, uint16(0)
	for r := lo; r < lo+chunkUnits; {
		t := s.tag(r)
		n := t.size
		if t.state == 0 {
			s.unlist(r)
			s.account(r, -int(n))
		} else {
			s.steps++
			if to != r {
				s.relocate(r, to, n)
			}
			s.tag(to).prev = prev
			to, prev = to+ref(n), n
		}
		r += ref(n)
	}
	if rest := lo + chunkUnits - to; rest > 0 {
		*s.tag(to) = tag{size: uint16(rest), prev: prev, state: used}
		s.release(to)
	}
}

// relocate moves the item r of n units to another block, or down within its own, and updates all references to it.
func (s *shard) relocate(r, to ref, n uint16) {
	copy(s.words(to, n), s.words(r, n)) // this may overwrite r
	it := s.item(to)
	s.index.replace(&s.arena, it.hash, r, to)
	k, c := s.place(to)
	s.queues[k][c].replace(&s.arena, to)
	if it.expires != 0 {
		s.wheel.replace(&s.arena, r, to)
	}
	if it.state&large != 0 {
		s.table[it.first()].owner = to
	}
}
