package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/allegro/bigcache/v3"
	"github.com/coocood/freecache"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/evmq/evmq/internal/memcache/store"
)

// A cache is a cache to compare. get counts as a use.
type cache interface {
	get(key []byte) bool
	set(key, value []byte) error
	close() error
}

// A library makes caches with a limit in bytes. overhead is the number of bytes that the library adds to each item.
type library struct {
	name string
	open func(memory, overhead int) (cache, error)
	full bool // allocates all its memory at the start
}

var libraries = []library{
	{"evmq/store", openStore, false},
	{"otter", openOtter, false},
	{"ristretto", openRistretto, false},
	{"freecache", openFreecache, true},
	{"bigcache", openBigcache, false},
}

type storeCache struct{ s *store.Store }

func openStore(memory, _ int) (cache, error) {
	s, err := store.New(store.Config{Memory: int64(memory)})
	return storeCache{s}, err
}

func (c storeCache) get(key []byte) bool {
	e := c.s.Lock(key)
	defer e.Unlock()
	if e.Found() {
		e.Use()
		return true
	}
	return false
}

func (c storeCache) set(key, value []byte) error {
	e := c.s.Lock(key)
	defer e.Unlock()
	return e.Put(store.Meta{}, value)
}

func (c storeCache) close() error { return nil }

// memory returns the memory of the store, most of which is outside Go's heap.
func (c storeCache) memory() int64 { return c.s.Stats().Memory }

// otterCache uses weights that include the real cost of an item. Its keys are strings, and its values are slices that belong to the
// cache, so a protocol that reads into a buffer has to copy both.
type otterCache struct {
	c *otter.Cache[string, []byte]
}

func openOtter(memory, overhead int) (cache, error) {
	c, err := otter.New(&otter.Options[string, []byte]{
		MaximumWeight:    uint64(memory),
		Weigher:          func(key string, value []byte) uint32 { return uint32(len(key) + len(value) + overhead) },
		ExpiryCalculator: otter.ExpiryWriting[string, []byte](24 * time.Hour),
	})
	return otterCache{c}, err
}

func (c otterCache) get(key []byte) bool {
	_, ok := c.c.GetIfPresent(string(key))
	return ok
}

func (c otterCache) set(key, value []byte) error {
	c.c.Set(string(key), append([]byte(nil), value...))
	return nil
}

func (c otterCache) close() error {
	c.c.StopAllGoroutines()
	return nil
}

type ristrettoCache struct {
	c        *ristretto.Cache[string, []byte]
	overhead int
}

func openRistretto(memory, overhead int) (cache, error) {
	c, err := ristretto.NewCache(&ristretto.Config[string, []byte]{
		NumCounters: int64(memory) / 20, MaxCost: int64(memory), BufferItems: 64, IgnoreInternalCost: true,
	})
	return ristrettoCache{c, overhead}, err
}

func (c ristrettoCache) get(key []byte) bool {
	_, ok := c.c.Get(string(key))
	return ok
}

// set waits from time to time, since the library drops values that it cannot store at once.
func (c ristrettoCache) set(key, value []byte) error {
	if !c.c.SetWithTTL(string(key), append([]byte(nil), value...), int64(len(key)+len(value)+c.overhead), 24*time.Hour) {
		c.c.Wait()
	}
	return nil
}

func (c ristrettoCache) close() error {
	c.c.Close()
	return nil
}

type freeCache struct{ c *freecache.Cache }

func openFreecache(memory, _ int) (cache, error) { return freeCache{freecache.NewCache(memory)}, nil }

func (c freeCache) get(key []byte) bool {
	err := c.c.GetFn(key, func([]byte) error { return nil })
	return err == nil
}

// set ignores values that are longer than a thousandth of the cache.
func (c freeCache) set(key, value []byte) error {
	if err := c.c.Set(key, value, 24*3600); !errors.Is(err, freecache.ErrLargeEntry) {
		return err
	}
	return nil
}

func (c freeCache) close() error { return nil }

type bigCache struct{ c *bigcache.BigCache }

func openBigcache(memory, _ int) (cache, error) {
	config := bigcache.DefaultConfig(24 * time.Hour)
	config.Verbose = false
	config.Shards = 64
	config.HardMaxCacheSize = memory >> 20
	c, err := bigcache.New(context.Background(), config)
	return bigCache{c}, err
}

func (c bigCache) get(key []byte) bool {
	_, err := c.c.Get(string(key))
	return err == nil
}

func (c bigCache) set(key, value []byte) error {
	if err := c.c.Set(string(key), value); err != nil {
		return fmt.Errorf("bigcache: %w", err)
	}
	return nil
}

func (c bigCache) close() error {
	if err := c.c.Close(); err != nil && !errors.Is(err, bigcache.ErrEntryNotFound) {
		return err
	}
	return nil
}
