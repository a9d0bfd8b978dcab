package store

// Stats describes the content of a Store and counts its operations. It is collected shard by shard, so the sums need not be of one moment.
type Stats struct {
	Shards int

	Limit  int64 // bytes: Config.Memory, or the argument of the last SetMemory
	Memory int64 // bytes: all memory of the store, at most Limit
	Bytes  int64 // of Memory: items
	Free   int64 // of Memory: free blocks and pages
	Index  int64 // of Memory: the index
	Large  int64 // of Bytes: pages of large values
	Lent   int64 // of Memory: pages of values that have been removed but are lent: see Entry.Borrow
	Coming int64 // of Memory: pages of values that are being received: see Store.Receive
	Held   int64 // of Large, Lent and Coming: pages that cannot be evicted, since they are lent or being received

	Flushed int64 // of Memory: items that a flush has removed but that are not freed yet. They are not part of Bytes and Large

	Items     int64
	Buckets   int64 // of the index, which grows bucket by bucket
	OldestAge int64 // seconds since the next item to be evicted was last used, the maximum of all shards

	Counts
	Promoted   int64 // items that eviction has moved from a probation queue to a protected queue, since they had been used
	Reinserted int64 // items that eviction has moved to the front of their protected queue
	Reaped     int64 // of Expired: those that Reap has freed

	LateLookups    int64 // look-ups that found an item that had expired, and removed it
	FlushedLookups int64 // look-ups that found an item that had been flushed, and removed it
}

// Stats returns the sums of all shards. It holds one lock at a time, and its work does not depend on the number of items. Any goroutine.
func (s *Store) Stats() Stats {
	st := Stats{Shards: len(s.shards), Memory: storeBytes, Limit: s.memory.Load()}
	for i := range s.shards {
		sh := &s.shards[i]
		s.within(sh, func() { sh.addTo(&st) })
	}
	return st
}

func (s *shard) addTo(st *Stats) {
	var sum Class
	for i := range s.classes {
		sum.add(&s.classes[i])
	}
	st.Memory += s.memory()
	st.Bytes += sum.Bytes
	st.Free += int64(s.free)*unit + int64(s.pages.free)*pageBytes
	st.Index += int64(len(s.index.segments)) * segmentSize
	if s.flushed.second == 0 {
		st.Large += int64(s.mine) * pageBytes
	}
	for i := range s.flushed.classes {
		st.Flushed += s.flushed.classes[i].bytes
	}
	st.Lent += int64(s.gone) * pageBytes
	st.Coming += int64((s.paged*chunkPages - s.pages.free - s.mine - s.gone)) * pageBytes
	st.Held += int64(s.held) * pageBytes
	st.Items += sum.Items
	st.Buckets += int64(s.index.buckets)
	if k, c, ok := s.next(); ok && s.flushed.second == 0 {
		st.OldestAge = max(st.OldestAge, int64(s.now-s.item(s.queues[k][c].oldest).access))
	}
	st.Add(1, &sum.Counts)
	st.Promoted += s.reinserted[probation]
	st.Reinserted += s.reinserted[protected]
	st.Reaped += s.reaped
	st.LateLookups += s.lateLookups
	st.FlushedLookups += s.flushedLookups
}

// Classes returns all size classes, by rising size, with the sums of all shards. The caller owns the slice. Any goroutine.
func (s *Store) Classes() []Class {
	sums := make([]Class, classCount)
	for i := range s.shards {
		sh := &s.shards[i]
		s.within(sh, func() {
			for j := range sums {
				sums[j].add(&sh.classes[j])
			}
		})
	}
	for j := range sums {
		sums[j].Size = bound(j)
	}
	return sums
}
