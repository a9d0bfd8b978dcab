package store

// A Listed is an item as All shows it.
type Listed struct {
	Key        []byte // valid until the function returns
	Meta       Meta
	LastAccess int64 // second of the last use
	Fetched    bool  // used since it was stored
	Size       int   // of the item: see Entry.Size
	Value      int   // length of the value, bytes

	keySize int // All's, while the key is part of a buffer
}

// ClassOf returns the index in Classes of the class of items of this size, as Entry.Size has it.
func ClassOf(size int) int { return classOf(int64(size)) }

// All calls fn for the items until it returns false. No lock is held then, so fn may use the store. The items are looked at in pieces of
// 128 KB of memory, with a shard's lock held for each; one that is changed, or moved to make room, between two pieces may be seen
// twice or not at all. Any goroutine.
func (s *Store) All(fn func(it Listed) bool) {
	var items []Listed
	var keys []byte
	for i := range s.shards {
		sh := &s.shards[i]
		for slot, more := uint32(1), true; more; slot++ {
			s.within(sh, func() {
				items, keys = sh.listItems(slot, items[:0], keys[:0])
				more = slot+1 < sh.top
			})
			p := keys
			for _, it := range items {
				it.Key = p[:it.keySize:it.keySize]
				if !fn(it) {
					return
				}
				p = p[it.keySize:]
			}
		}
	}
}

// listItems appends what is in a chunk, and the keys.
func (s *shard) listItems(slot uint32, items []Listed, keys []byte) ([]Listed, []byte) {
	if slot >= s.top || s.slots[slot].data == nil || s.slots[slot].paged || s.flushed.second != 0 || s.voids() {
		return items, keys
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
		items = append(items, Listed{
			Meta: it.meta(), LastAccess: int64(it.access), Fetched: it.state&fetched != 0,
			Size: int(s.size(it)), Value: int(it.value), keySize: int(it.key),
		})
	}
	return items, keys
}
