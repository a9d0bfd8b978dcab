// Package store is a cache in memory: keys with values, a limit in bytes, and a time at which an item is gone. It knows nothing
// of protocols or sockets.
//
// # Use
//
// [Store.Lock] locks the part of the store that a key belongs to and looks the key up. What it returns, an [Entry], is the item, or the
// place where one would be. Between Lock and [Entry.Unlock] nobody else changes it, so whatever reads, decides and writes is
// atomic: add, replace, append, compare-and-swap, incr.
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
// The limit counts everything: items, the tables that find them, and what is free between them. It is divided among shards, each
// with a lock of its own, by the keys' hashes; a shard never takes more than its share. Small items lie in chunks of 128 KB that
// hold no pointer. They refer to each other by number, so the garbage collector has a handful of objects to look at, however many
// items there are. Values of 8 KB and more have memory of their own from Go's heap. They never change, so they can be written to a
// socket after Unlock without a copy ([Entry.Borrow]); one that is replaced or removed meanwhile counts until it is returned. What
// nobody has any more is there for the next value of about its size ([NewLarge]), until the collector takes it; so long it is beyond
// the limit, as is all of a program's garbage.
//
// In a chunk a block may have any length. A block that becomes free joins its free neighbours, so memory that was used for items of one
// size serves another size as well. Where free blocks suffice but do not lie together, items are moved.
//
// # What goes
//
// When there is no room, items that have expired go first. Then the store evicts by size and frequency: an item that is not used stays
// for a time in inverse proportion to its size, and longer if it was used before. Each use begins that time again. So most requests are
// answered, not most bytes. Reading many keys once, as a scan does, does not displace what is in use, and small items that
// are not used any more give way to larger ones that are. With [Config.NoEvict] it refuses instead.
//
// An item with Expires e is gone from the very second e on, whether it still takes memory or not. What has been flushed is gone in the same
// way. Memory comes back when the item is asked for, when room is needed, or when a timer calls [Store.Reap].
//
// # Work
//
// No operation does more than a bound that depends on the size of its own item. The index grows by one bucket at a time. Making
// room ends after so many items as have the bytes that are needed, and a number that are spared. FlushAll takes a step for each chunk
// and each large value.
// No operation on small items allocates.
package store
