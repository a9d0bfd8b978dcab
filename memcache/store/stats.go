package store

// Stats is what a Store holds and has done. Sums of counters are taken shard by shard, so they need not be of one moment.
type Stats struct {
	Shards int

	Limit  int64 // Config.Memory, or what SetMemory has made of it
	Memory int64 // all that the store has taken, at most Limit, bytes
	Bytes  int64 // of Memory: items
	Free   int64 // of Memory: between the items
	Index  int64 // of Memory: the index
	Large  int64 // of Bytes: pages of large values
	Lent   int64 // of Memory: pages of values that are gone and are lent: see Entry.Borrow
	Coming int64 // of Memory: pages of values that are being received: see Store.Receive
	Held   int64 // of Large, Lent and Coming: what cannot make room, since it is lent or being received

	Flushed int64 // of Memory: items that a flush has removed and that are not freed yet. They are no part of Bytes and Large

	Items     int64
	Buckets   int64 // of the index. It grows bucket by bucket, so that it never rests and is never under way for long
	OldestAge int64 // seconds since the items that are evicted next were last used, the most of all shards

	Counts
	Promoted int64 // items that eviction has moved from the queue of new ones to the main queue, since they had been used
	Spared   int64 // and to the front of the main queue again
	Reaped   int64 // of Expired, those that Reap has freed

	LateLookups    int64 // look-ups that met an item that had expired, and removed it
	FlushedLookups int64 // look-ups that met an item that had been flushed, and removed it
}

// Stats adds up what the shards have counted. It holds one lock at a time, and looks at no item but the oldest.
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
	st.Promoted += s.spared[newItems]
	st.Spared += s.spared[provenItems]
	st.Reaped += s.reaped
	st.LateLookups += s.late
	st.FlushedLookups += s.void
}

// Classes returns the size classes, by rising size, those that never had an item included. It adds up what the shards have counted.
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
