package store

const (
	shrinkPiece     = 2    // chunks that a shard shrinks by with its lock held once
	shrinkReinserts = 8192 // items that it reinserts at most for each piece
)

// setLimit changes the limit to n, or closer to n, and reports whether n is reached. Pages that are held may keep the memory above the limit
// until they are returned.
func (s *shard) setLimit(n int64) bool {
	s.freeFlushed()
	chunks := int(n / chunkBytes)
	if n < s.limit {
		s.shrinking = true
		s.reinserts = shrinkReinserts
		s.setCapacity(chunks)
		s.limit = max(n, s.memory()-shrinkPiece*chunkBytes)
		more := s.afford(0) && s.limit > n
		for i := 0; !more && i < shrinkPiece && int(s.top)-1 > chunks; i++ {
			more = s.lower(chunks)
		}
		s.shrinking = false
		if more {
			return false
		}
	}
	s.limit = n
	s.setCapacity(chunks)
	s.shrinkOn() // also where longer tables need a chunk's memory
	return true
}

// shrinkOn reduces the memory to the limit, as far as pages that are held permit.
func (s *shard) shrinkOn() {
	s.freeFlushed()
	was := s.shrinking
	s.shrinking = true
	s.over = !s.afford(0)
	s.shrinking = was
}

// lower moves the content of the last chunk to a chunk in a slot up to most, so that the tables can be shorter. It reports whether it
// succeeded.
func (s *shard) lower(most int) bool {
	c := s.top - 1
	for s.slots[s.hint].data != nil {
		s.hint++
	}
	if int(s.hint) > most || s.slots[c].paged && s.heldIn(c) || !s.add() {
		return false
	}
	r := ref(c << chunkBits)
	if s.slots[c].paged {
		s.moveAll(c)
	} else {
		s.clear(r, r+chunkUnits)
		s.release(r)
	}
	if s.slots[c].data != nil {
		s.dropEmpty(r)
	}
	return true
}
