package memcache

import (
	"errors"
	"fmt"
	"io"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/memcache/internal/itemfile"
)

// Errors of Load.
var (
	// ErrForeign means that the data was not written by Save.
	ErrForeign = itemfile.ErrForeign
	// ErrVersion means that the data has another version of the format.
	ErrVersion = itemfile.ErrVersion
	// ErrDamaged means that the data is truncated or was changed.
	ErrDamaged = itemfile.ErrDamaged
)

// Loaded counts the items that Load has read.
type Loaded struct {
	Items   int // stored; some may have been evicted afterwards
	Expired int // not stored: expired or removed by a flush_all since they were saved
	Refused int // not stored: larger than Config.MaxItem, or without room where Config.NoEvict is set
}

// Load stores the items that Save has written. The cache should not have clients yet. Beside the cache it needs the memory of the largest item.
// New unique numbers are above those of the saved cache; the time since the last access begins at zero. After an error the cache is empty.
// Errors: ErrForeign, ErrVersion, ErrDamaged, and those of r. May block; not in a callback.
func (c *Cache) Load(r io.Reader) (Loaded, error) {
	done, err := c.load(r)
	if err != nil {
		c.store.FlushAll(c.clock.Unix())
		return Loaded{}, fmt.Errorf("load items: %w", err)
	}
	return done, nil
}

func (c *Cache) load(r io.Reader) (done Loaded, err error) {
	file, err := itemfile.NewReader(r, c.config.MaxItem)
	if err != nil {
		return done, err
	}
	header, began := file.Header(), c.clock.Unix()
	flushed := header.Flush != 0 && header.Flush <= began
	var it itemfile.Item
	for {
		switch err := file.Next(&it); {
		case errors.Is(err, io.EOF):
			c.store.RaiseCAS(header.CAS)
			if header.Flush != 0 && !flushed {
				c.flushed.Store(header.Flush - c.began)
				c.store.FlushThrough(header.Flush)
			}
			return done, nil
		case err != nil:
			return done, err
		case flushed || it.Expires != 0 && it.Expires <= c.clock.Unix():
			done.Expired++
		case it.TooLarge || !c.fits(len(it.Key), it.Flags, len(it.Value)) || !c.storeLoaded(&it):
			done.Refused++
		default:
			done.Items++
		}
	}
}

// storeLoaded stores an item, and reports whether it succeeded.
func (c *Cache) storeLoaded(it *itemfile.Item) bool {
	m := store.Meta{Flags: it.Flags, Expires: it.Expires, CAS: it.CAS, Bits: it.Bits}
	switch {
	case c.config.NoCAS:
		m.CAS = 0
	case m.CAS == 0: // it was saved by a cache without unique numbers
		m.CAS = c.nextCAS()
	}
	e := c.store.Lock(it.Key)
	defer e.Unlock()
	if e.Put(m, it.Value) != nil {
		return false
	}
	if it.Fetched && e.Found() {
		e.Use()
	}
	return true
}
