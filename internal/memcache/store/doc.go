// Package store is a cache in memory: keys with values, a limit in bytes, and expiry times. It is independent of protocols and sockets.
//
// # Use
//
// [Store.Lock] locks the shard of a key, looks the key up, and returns an [Entry]. Between Lock and [Entry.Unlock] no other goroutine changes
// the item, so a sequence of reads and writes is atomic: add, replace, append, compare-and-swap, incr.
//
//	e := s.Lock(key)
//	defer e.Unlock()
//	if e.Found() && e.Meta().CAS == cas {
//		e.Use()
//		err = e.Put(store.Meta{CAS: s.NextCAS()}, value)
//	}
//
// # Memory
//
// The limit includes items, tables and the free space between items. It is divided equally among the shards, each with its own lock; a key's hash
// determines its shard. A shard never takes more than its share. It takes memory from the system in chunks of 128 KB outside Go's heap, and
// returns it when [Store.SetMemory] lowers the limit. Items refer to each other by number. So the cost of a garbage collection does not
// depend on the number of items.
//
// A chunk holds blocks, or pages of 16 KB. An item has a block, of any length, with its key and its value. For a value of 16 KB and
// more the block holds only the tail, which does not fill a page; the rest is in pages. One, two, four or eight adjacent pages form an
// extent. A block or an extent that becomes free joins its free neighbours, and a chunk that is entirely free can be used for blocks as well
// as for pages. If there is enough free memory but not in one piece, items and pages are moved. So memory that was used for items of one
// size can be used for items of any other size.
//
// The pages of a value never change. They can be written to a socket after Unlock without a copy: [Entry.Borrow] returns a [Lease]
// of them. Pages that are lent stay in place and count as memory until they are returned, even after their item has been removed. A value
// can also be received into pages that become the item's: see [Store.Receive]. If a value cannot be stored because too much is lent or being
// received, the error is [ErrLent], [ErrReceived] or [ErrNoMemory]. A few chunks are never divided into pages, so that small items can be stored in any case.
//
// # Eviction and expiry
//
// When there is no room, expired items are removed first. Then the store evicts by size and frequency: an item that is not used is kept for a
// time inversely proportional to its size, and longer if it was used before. Each use renews that time. This maximizes the requests that find
// an item, not the bytes. A scan, which reads many keys once, does not displace items in use, and small items that are no longer used are
// evicted before larger ones that are. With [Config.NoEvict] the store returns an error instead.
//
// An item with Expires e is not found from the second e on, whether or not it still takes memory. The same holds for flushed items. The memory is
// freed when the item is looked up, when room is needed, or when a timer calls [Store.Reap]. An item stored past its
// expiry time, or in a second that a flush covers, can be used through its Entry until Unlock, and is not found later.
//
// # Cost
//
// The work of each operation is bounded by the size of its item. The index grows by one bucket at a time. Making room evicts items of about as
// many bytes as are needed and reinserts a bounded number; at most a chunk is moved for a block.
// FlushAll takes a step for each chunk and each extent. No operation allocates, except those that return a copy.
package store
