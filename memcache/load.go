package memcache

import (
	"errors"
	"fmt"
	"io"

	"github.com/evmq/evmq/memcache/internal/itemfile"
	"github.com/evmq/evmq/memcache/store"
)

// The reasons for which Load refuses what it reads.
var (
	// ErrForeign is of something that Save has not written.
	ErrForeign = itemfile.ErrForeign
	// ErrVersion is of what another version has saved, in another format.
	ErrVersion = itemfile.ErrVersion
	// ErrDamaged is of something that is cut short or changed.
	ErrDamaged = itemfile.ErrDamaged
)

// Loaded says what became of the items that Load has read.
type Loaded struct {
	Items   int // stored; eviction may have removed some of them again
	Expired int // not stored: expired, or removed by a flush_all, since they were saved
	Refused int // not stored: larger than Config.MaxItem, or, with Config.NoEvict, than what is free
}

// Load stores the items that Save has written. It is for a cache that has no clients yet. It needs the memory of the largest item beside
// the cache. Unique numbers go on where the saved cache ended; the seconds since the last access begin anew. After an error the cache
// is empty: it is ErrForeign, ErrVersion, ErrDamaged, or r's. May block; not in a callback.
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
		case it.TooLarge || !c.fits(len(it.Key), it.Flags, len(it.Value)) || !c.bring(&it):
			done.Refused++
		default:
			done.Items++
		}
	}
}

// bring stores an item, and says whether it could.
func (c *Cache) bring(it *itemfile.Item) bool {
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
