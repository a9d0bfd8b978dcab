package store

// record is an item as All copies it: its key is part of a buffer.
type record struct {
	meta    Meta
	access  int64
	fetched bool
	size    int
	key     int // length
}

// All calls fn for the items until it returns false. No lock is held then, so fn may use the store. The items are looked at in pieces of
// 128 KB of memory, with a shard's lock held for each; one that is changed, or moved to make room, between two pieces may be seen
// twice or not at all. key is valid until fn returns.
func (s *Store) All(fn func(key []byte, m Meta, lastAccess int64, fetched bool, size int) bool) {
	var records []record
	var keys []byte
	for i := range s.shards {
		sh := &s.shards[i]
		for slot, more := uint32(1), true; more; slot++ {
			s.lock(sh)
			records, keys = sh.records(slot, records[:0], keys[:0])
			more = slot+1 < sh.top
			sh.mu.Unlock()
			p := keys
			for _, r := range records {
				if !fn(p[:r.key:r.key], r.meta, r.access, r.fetched, r.size) {
					return
				}
				p = p[r.key:]
			}
		}
	}
}

// records appends what is in a chunk.
func (s *shard) records(slot uint32, records []record, keys []byte) ([]record, []byte) {
	if slot >= s.top || s.slots[slot].data == nil || s.slots[slot].paged {
		return records, keys
	}
	for r := ref(slot << chunkBits); r != 0; r = s.after(r) {
		if s.tag(r).state == 0 {
			continue
		}
		it := s.item(r)
		if it.expired(s.now) {
			continue
		}
		keys = append(keys, it.keyBytes()...)
		records = append(records, record{it.meta(), int64(it.access), it.state&fetched != 0, int(s.size(it)), int(it.key)})
	}
	return records, keys
}
