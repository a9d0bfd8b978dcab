package store

// block returns a block of n units, or 0 if there is no room. It evicts other items if necessary. Its work is bounded by n: it evicts items
// of about as many bytes, and if their blocks are not adjacent, it clears the neighbourhood of the last one.
func (s *shard) block(n uint16) ref {
	if r := s.takeOrAdd(n); r != 0 {
		return r
	}
	for before := s.free; s.expire(s.searchSteps()) > 0; {
		if r := s.takeOrAdd(n); r != 0 {
			return r
		}
		if !s.noEvict && s.free-before > 2*int(n) {
			break
		}
	}
	if s.free > (s.chunks-s.paged)*chunkUnits/scattered && s.gatherFree(n) {
		return s.take(n)
	}
	if s.noEvict {
		return 0
	}
	var last ref
	for freed := uint16(0); freed < 2*n; {
		r := s.victim()
		if r == 0 {
			return 0
		}
		if s.reinserts > 0 && s.lentOut(r) {
			s.reinsert(r) // its pages would stay lent
			continue
		}
		freed += s.tag(r).size
		s.evicted(r)
		last = s.remove(r)
		if r := s.takeOrAdd(n); r != 0 {
			return r
		}
	}
	s.widen(last, n)
	return s.take(n)
}

// searchSteps returns the number of steps of a search for expired items. Without eviction only expired items can make room.
func (s *shard) searchSteps() int {
	if s.noEvict {
		return 1 << 16
	}
	return expiring
}

// takeOrAdd takes a block of n units. If necessary it adds a chunk, or moves the pages of a chunk to others.
func (s *shard) takeOrAdd(n uint16) ref {
	r := s.take(n)
	if r == 0 && (s.mayAdd() && s.add() || s.pages.free >= chunkPages && s.evacuate()) {
		r = s.take(n)
	}
	return r
}

// mayAdd reports whether the limit allows another chunk.
func (s *shard) mayAdd() bool { return s.chunks < s.capacity() && s.fits(chunkBytes) }

// fits reports whether n more bytes are within the limit.
func (s *shard) fits(n int64) bool { return s.memory()+n <= s.limit }

// afford returns chunks to the system until n more bytes are within the limit, and reports whether it succeeded. It keeps at least one chunk
// of blocks.
func (s *shard) afford(n int64) bool {
	if n > s.limit-shardBytes-s.tables()-chunkBytes && !s.shrinking {
		return false
	}
	for !s.fits(n) {
		if r := s.empty(); r != 0 && (s.chunks-s.paged > 1 || s.shrinking) {
			s.dropEmpty(r)
			continue
		}
		if s.pages.free >= chunkPages && s.evacuate() {
			continue
		}
		if (!s.noEvict || s.shrinking) && s.free > chunkUnits*3/2 && s.drain() {
			continue
		}
		if !s.makePageRoom() {
			return false
		}
	}
	return true
}

// drain empties a chunk of blocks. Most of its items move to free blocks of other chunks.
func (s *shard) drain() bool {
	if s.chunks-s.paged <= 1 && !s.shrinking {
		return false
	}
	n := s.emptiest()
	if n == 0 {
		return false
	}
	lo := ref(n << chunkBits)
	s.clear(lo, lo+chunkUnits)
	s.release(lo)
	return true
}

// emptiest returns the chunk of blocks with the most free units among the next few, or 0. Empty chunks and the pinned item's are skipped.
func (s *shard) emptiest() uint32 {
	best := uint32(0)
	for seen, i := 0, uint32(0); i < min(s.top, maxWalk) && seen < 16; i++ {
		n := s.walk()
		c := &s.slots[n]
		if c.data == nil || c.paged || c.free == chunkUnits || n == s.pin.chunk() {
			continue
		}
		if seen++; best == 0 || c.free > s.slots[best].free {
			best = n
		}
	}
	return best
}

// maxWalk is the maximum number of slots that a search examines.
const maxWalk = 512

// walk returns the next slot, in rotation.
func (s *shard) walk() uint32 {
	s.walked++
	return s.walked % s.top
}

// widen makes a hole of at least n units around the free block r.
func (s *shard) widen(r ref, n uint16) {
	lo, hi := s.window(r, ref(n))
	if hi-lo < ref(n) {
		// The pinned item is too close. There is room before or after it: a chunk is much longer than two items.
		lo = s.pin &^ (chunkUnits - 1)
		if s.pin.place() < chunkUnits/2 {
			lo = s.pin + ref(s.tag(s.pin).size)
		}
		lo, hi = s.window(lo, ref(n))
	}
	s.clear(lo, hi)
	s.release(lo)
}

// window returns the range of r and as many following blocks, and then preceding blocks, as amount to n units. It ends at the pinned item.
func (s *shard) window(r, n ref) (lo, hi ref) {
	lo, hi = r, r+ref(s.tag(r).size)
	for hi-lo < n && hi.chunk() == lo.chunk() && hi != s.pin {
		hi += ref(s.tag(hi).size)
	}
	for hi-lo < n {
		prev := s.before(lo)
		if prev == 0 || prev == s.pin {
			break
		}
		lo = prev
	}
	return lo, hi
}

// clear joins all blocks from lo to hi into one block that is in use and holds nothing. Items for which there is another block move there, the
// others are evicted.
func (s *shard) clear(lo, hi ref) {
	for r := lo; r < hi; r += ref(s.tag(r).size) {
		if t := s.tag(r); t.state == 0 {
			s.unlist(r)
			s.account(r, -int(t.size))
		}
	}
	for r := lo; r < hi; r += ref(s.tag(r).size) {
		s.steps++
		if s.tag(r).state == 0 || s.move(r) {
			continue
		}
		s.evicted(r)
		s.unlink(r)
	}
	s.tag(lo).state = used
	s.resize(lo, uint16(hi-lo))
}

// dropEmpty returns the chunk r, which is one free block, to the system.
func (s *shard) dropEmpty(r ref) {
	s.unlist(r)
	s.account(r, -chunkUnits)
	s.drop(r)
}

// tend grows the index with the number of items, by at most two buckets. If there is no memory for another segment, the chains may become
// longer up to a limit; beyond it, memory is freed for the segment.
func (s *shard) tend() {
	x := &s.index
	for range 2 {
		need := x.needs()
		if x.full() && (need == 0 || s.fits(need) || x.items/2 > x.buckets && s.afford(need)) {
			s.steps++
			x.grow(&s.arena)
		}
	}
}
