package memcache

import (
	"fmt"
	"io"

	"github.com/evmq/evmq/memcache/internal/itemfile"
	"github.com/evmq/evmq/memcache/store"
)

// Save writes the items to w, for Load: keys, values, flags, expiries, unique numbers, and whether each was fetched; and a flush_all that
// is yet to come. It returns the number of items. It needs the memory of the largest item. Items that change meanwhile may be
// missing, so the servers are to be shut down before. The error is w's. May block; not in a callback.
func (c *Cache) Save(w io.Writer) (items int, err error) {
	now := c.clock.Unix()
	file, err := itemfile.NewWriter(w, itemfile.Header{Saved: now, Flush: c.pendingFlush(now), CAS: c.store.NextCAS()})
	if err != nil {
		return 0, fmt.Errorf("save items: %w", err)
	}
	var value []byte
	c.store.All(func(key []byte, _ store.Meta, _ int64, fetched bool, _ int) bool {
		it := itemfile.Item{Key: key, Fetched: fetched}
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

// copyItem fills in what the store has of the item with it.Key, and copies the value to room. The lock is not held while the item is
// written.
func (c *Cache) copyItem(it *itemfile.Item, room []byte) (value []byte, found bool) {
	e := c.store.Lock(it.Key)
	defer e.Unlock()
	if !e.Found() {
		return room, false
	}
	m := e.Meta()
	it.Flags, it.Expires, it.CAS, it.Bits = m.Flags, m.Expires, m.CAS, m.Bits
	return append(room[:0], e.Value()...), true
}

// pendingFlush is the second through whose end a flush_all removes what is stored, if that is yet to come; 0 if none is.
func (c *Cache) pendingFlush(now int64) int64 {
	if at := c.began + c.flushed.Load(); at > now {
		return at
	}
	return 0
}
