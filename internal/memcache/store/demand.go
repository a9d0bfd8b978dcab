package store

// demand compares the uses of each size group with the memory that the group occupies. GDSF keeps an item a thousand times longer than one
// of a thousand times its size. Small items that are no longer used would therefore displace larger items that are. So size groups whose
// memory is out of proportion to their uses are cold, and their items are evicted first.
type demand struct {
	uses         [groups]uint64 // recent uses of the items of each size group
	evictedBytes int64          // since the last comparison
	rounds       int            // comparisons since the uses were last halved
	coldClasses  uint64         // bit c is set if the group of class c is cold
}

const (
	groups      = (classCount + doubling - 1) / doubling
	parts       = 16  // the groups are compared each time when this part of the limit has been evicted
	coldRatio   = 4   // a group is cold if larger items are used more than this many times as often per byte
	minUses     = 16  // fewer uses of larger items are not significant
	agingUses   = 256 // all uses are halved when their sum reaches this number,
	agingRounds = 32  // or after this many comparisons
)

// use records a use of an item of a class.
func (s *shard) use(it *item, class int) {
	it.access = s.now
	it.state |= referenced
	s.uses[class/doubling]++
}

// countEvicted counts n bytes evicted, and compares the groups when enough bytes have been evicted.
func (s *shard) countEvicted(n int64) {
	if s.evictedBytes += n; s.evictedBytes > s.limit/parts {
		s.evictedBytes = 0
		s.compare()
	}
}

// compare finds the cold groups.
func (s *shard) compare() {
	s.coldClasses = 0
	var uses, bytes float64 // of the items larger than the group's
	for g := groups - 1; g >= 0; g-- {
		first := g * doubling
		held := int64(0)
		for c := first; c < min(first+doubling, classCount); c++ {
			held += s.classes[c].Bytes
		}
		own := float64(s.uses[g])
		if uses >= minUses && (own*coldRatio+minUses)*bytes < uses*float64(held) {
			s.coldClasses |= (1<<doubling - 1) << first
		}
		uses += own
		bytes += float64(held)
	}
	if s.rounds++; uses >= agingUses || s.rounds == agingRounds {
		s.rounds = 0
		for g := range s.uses {
			s.uses[g] /= 2
		}
	}
}
