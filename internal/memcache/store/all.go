package store

// Listed describes an item to the function of All.
type Listed struct {
	Key        []byte // valid until the function returns
	Meta       Meta
	LastAccess int64 // second of the last use, as Config.Now counts
	Fetched    bool  // used since it was stored
	Size       int   // of the item, bytes: see Entry.Size
	Value      int   // length of the value, bytes

	keySize int // length of the key while All keeps it in a buffer
}

// ClassOf returns the index in Classes of the class of an item whose Entry.Size is size. Any goroutine.
func ClassOf(size int) int { return classOf(int64(size)) }

// All calls fn for each item until fn returns false. No lock is held during the call, so fn may use the store. The memory is read in pieces of
// 128 KB, each with a shard's lock held. An item that is changed, or moved to make room, between two pieces may be listed twice or not at all.
// Any goroutine.
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

// listItems appends the items of a chunk to items, and their keys to keys.
func (s *shard) listItems(slot uint32, items []Listed, keys []byte) ([]Listed, []byte) {
	if slot >= s.top || s.slots[slot].data == nil || s.slots[slot].paged || s.flushed.second != 0 || s.flushInForce() {
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
