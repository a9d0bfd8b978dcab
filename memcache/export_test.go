package memcache

import (
	"time"

	"github.com/evmq/evmq/internal/memcache/store"
)

// Store returns the store of the items, for tests that look at its memory.
func (c *Cache) Store() *store.Store { return c.store }

// SetStalledAfter changes the time without progress after which a connection may be closed when memory is short.
func (c *Cache) SetStalledAfter(d time.Duration) {
	c.shortage.mu.Lock()
	defer c.shortage.mu.Unlock()
	c.shortage.after = d
}
