package memcache

import (
	"fmt"
	"io"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/memcache/internal/itemfile"
)

// Save writes the items to w, for Load: keys, values, flags, expiry times, unique numbers, and whether each was fetched. It also writes a
// pending flush_all. It returns the number of items. It needs the memory of the largest item. Items that change meanwhile may be missing, so the
// servers should be shut down before. Errors are those of w. May block; not in a callback.
func (c *Cache) Save(w io.Writer) (items int, err error) {
	now := c.clock.Unix()
	file, err := itemfile.NewWriter(w, itemfile.Header{Saved: now, Flush: c.pendingFlush(now), CAS: c.store.NextCAS()})
	if err != nil {
		return 0, fmt.Errorf("save items: %w", err)
	}
	var value []byte
	c.store.All(func(listed store.Listed) bool {
		it := itemfile.Item{Key: listed.Key, Fetched: listed.Fetched}
		var found bool
		if value, found = c.copyItem(&it, value); found {
			it.Value = value
			err = file.Write(&it)
		}
		return err == nil
	})
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return file.Count(), fmt.Errorf("save items: %w", err)
	}
	return file.Count(), nil
}

// copyItem completes the item with it.Key from the store, and copies its value to room. No lock is held while the item is written.
func (c *Cache) copyItem(it *itemfile.Item, room []byte) (value []byte, found bool) {
	e := c.store.Lock(it.Key)
	defer e.Unlock()
	if !e.Found() {
		return room, false
	}
	m := e.Meta()
	it.Flags, it.Expires, it.CAS, it.Bits = m.Flags, m.Expires, m.CAS, m.Bits
	return e.AppendValue(room[:0]), true
}

// pendingFlush returns the last second that a pending flush_all covers, or 0 if none is pending.
func (c *Cache) pendingFlush(now int64) int64 {
	if at := c.began + c.flushed.Load(); at > now {
		return at
	}
	return 0
}
