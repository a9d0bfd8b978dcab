package store

// demand compares how much sizes are used with how much memory they take. An item that is a thousand times smaller than another is
// kept a thousand times longer, for it costs so much less. But if many small items are not used any more, they would keep the memory
// from larger ones that are. So groups of sizes that take memory out of proportion to their uses are evicted first.
type demand struct {
	uses        [groups]uint64 // recent uses of the items of a group of sizes
	turned      int64          // bytes evicted since the last comparison
	rounds      int            // comparisons since the uses were halved
	idleClasses uint64         // by the bits: the classes whose groups are not worth their memory
}

const (
	groups = (classCount + doubling - 1) / doubling
	slice  = 16  // comparisons while as many bytes are evicted as the limit allows
	poor   = 4   // a group is idle if larger items of as many bytes are used more than so many times as often
	doubt  = 16  // uses of the larger items that prove nothing: they may be chance
	recent = 256 // recent uses are halved when there are so many,
	stale  = 32  // or after so many comparisons
)

// use notes a use of an item.
func (s *shard) use(it *item) {
	it.access = s.now
	it.state |= wanted
	s.uses[classOf(s.size(it))/doubling]++
}

// turnOver counts n bytes evicted, and compares the groups when they are enough.
func (s *shard) turnOver(n int64) {
	if s.turned += n; s.turned > s.limit/slice {
		s.turned = 0
		s.compare()
	}
}

// compare finds the groups whose memory would be used more if larger items had it.
func (s *shard) compare() {
	s.idleClasses = 0
	var uses, bytes float64 // of the items larger than the group's
	for g := groups - 1; g >= 0; g-- {
		first := g * doubling
		held := int64(0)
		for c := first; c < min(first+doubling, classCount); c++ {
			held += s.classes[c].Bytes
		}
		own := float64(s.uses[g])
		if uses >= doubt && (own*poor+doubt)*bytes < uses*float64(held) {
			s.idleClasses |= (1<<doubling - 1) << first
		}
		uses += own
		bytes += float64(held)
	}
	if s.rounds++; uses >= recent || s.rounds == stale {
		s.rounds = 0
		for g := range s.uses {
			s.uses[g] /= 2
		}
	}
}
