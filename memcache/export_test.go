package memcache

import "github.com/evmq/evmq/internal/memcache/store"

// Store returns the store of the items, for tests that look at its memory.
func (c *Cache) Store() *store.Store { return c.store }
