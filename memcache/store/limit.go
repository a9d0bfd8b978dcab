package store

const (
	shrinkPiece = 2    // chunks that a shard shrinks by with its lock held once
	shrinkMercy = 8192 // items that it spares meanwhile
)

// setLimit brings the limit to n, or nearer to it, and reports whether it is there. Pages that are held may keep memory beyond the limit
// until they are returned.
func (s *shard) setLimit(n int64) bool {
	s.freeFlushed()
	chunks := int(n / chunkBytes)
	if n < s.limit {
		s.shrinking = true
		s.mercy = shrinkMercy
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

// shrinkOn brings the memory to the limit, as far as nothing that is held keeps it.
func (s *shard) shrinkOn() {
	s.freeFlushed()
	was := s.shrinking
	s.shrinking = true
	s.over = !s.afford(0)
	s.shrinking = was
}

// lower moves what is in the last chunk to one with a slot up to the number given, so that the tables can be shorter. It reports
// whether it could.
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
