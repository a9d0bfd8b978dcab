package store

// block finds a block of n units, and removes other items if there is no other way. It returns 0 if there is none. What it does is
// bounded by n: it evicts items of about so many bytes, and if their blocks do not lie together, makes a hole among their neighbours.
func (s *shard) block(n uint16) ref {
	if r := s.takeOrAdd(n); r != 0 {
		return r
	}
	for before := s.free; s.expire(s.patience()) > 0; {
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
		if s.mercy > 0 && s.lentOut(r) {
			s.passOver(r)
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

// patience is how many steps a search for expired items takes. Where nothing may be evicted, they are all that there is.
func (s *shard) patience() int {
	if s.noEvict {
		return 1 << 16
	}
	return expiring
}

// takeOrAdd takes a block of n units, from a new chunk if need and memory be, or one whose pages can move to others.
func (s *shard) takeOrAdd(n uint16) ref {
	r := s.take(n)
	if r == 0 && (s.mayAdd() && s.add() || s.pages.free >= chunkPages && s.evacuate()) {
		r = s.take(n)
	}
	return r
}

// mayAdd says whether there may be another chunk.
func (s *shard) mayAdd() bool { return s.chunks < s.capacity() && s.fits(chunkBytes) }

// fits says whether n bytes more are within the limit.
func (s *shard) fits(n int64) bool { return s.memory()+n <= s.limit }

// afford makes the shard's memory so small that n bytes more are within the limit, by giving chunks back. At least one chunk of blocks
// stays.
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

// drain empties a chunk of blocks. Most of its items find room in the holes of the others.
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

// emptiest is the chunk of blocks that has the most free of the next few, those that are empty and the pinned item's aside, or 0.
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

// maxWalk is how many slots a search looks at.
const maxWalk = 512

// walk goes on to the next slot.
func (s *shard) walk() uint32 {
	s.walked++
	return s.walked % s.top
}

// widen makes a hole of at least n units around the free block r.
func (s *shard) widen(r ref, n uint16) {
	lo, hi := s.window(r, ref(n))
	if hi-lo < ref(n) {
		// The pinned item is in the way. Before or behind it there is room: a chunk is much longer than two items.
		lo = s.pin &^ (chunkUnits - 1)
		if s.pin.place() < chunkUnits/2 {
			lo = s.pin + ref(s.tag(s.pin).size)
		}
		lo, hi = s.window(lo, ref(n))
	}
	s.clear(lo, hi)
	s.release(lo)
}

// window is the block r and as many behind it, and then before it, as make n units, short of the pinned item.
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

// clear makes one block in use, which holds nothing, of all from lo to hi. Items that find room elsewhere move there, others go.
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

// dropEmpty gives the chunk r, which is one free block, back.
func (s *shard) dropEmpty(r ref) {
	s.unlist(r)
	s.account(r, -chunkUnits)
	s.drop(r)
}

// tend lets the index follow the number of items, by a bucket or two at a time. When there is no memory for another segment,
// the chains may grow a little longer, and then something has to go.
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
