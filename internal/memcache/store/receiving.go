package store

import "sync/atomic"

// receiving is the list of values that are being received and have memory of the shard's present content.
type receiving struct {
	newest *Incoming
	out    atomic.Int32 // number of values; also read without the lock
}

func (r *receiving) add(v *Incoming) {
	v.older, v.newer = r.newest, nil
	if v.older != nil {
		v.older.newer = v
	}
	r.newest = v
	r.out.Add(1)
}

func (r *receiving) remove(v *Incoming) {
	r.out.Add(-1)
	if v.newer != nil {
		v.newer.older = v.older
	} else {
		r.newest = v.older
	}
	if v.older != nil {
		v.older.newer = v.newer
	}
	v.newer, v.older = nil, nil
}

// Receiving appends the values of the shard of a key that are being received and do not wait for memory themselves. Any goroutine, but not
// between Lock and Unlock.
func (s *Store) Receiving(key []byte, to []Holding) []Holding {
	return s.receivingOf(s.shardOf(key), to)
}

// AllReceiving is Receiving for all shards.
func (s *Store) AllReceiving(to []Holding) []Holding {
	for i := range s.shards {
		to = s.receivingOf(&s.shards[i], to)
	}
	return to
}

func (s *Store) receivingOf(sh *shard, to []Holding) []Holding {
	s.within(sh, func() {
		for v := sh.receiving.newest; v != nil; v = v.older {
			if !v.short {
				to = append(to, Holding{Holder: v.holder, Bytes: int64(v.room)})
			}
		}
	})
	return to
}
