package memcache

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
)

// The methods in this file are for the program that has the cache. Each has the effect of the command of the same name: clients see it, stats
// counts it, and watchers receive its lines, with the descriptor -1. Errors that a program expects are returned as they are, so that they
// allocate nothing: ErrNotFound, ErrExists, ErrChanged and ErrNotNumber.

// Get returns the item of a key. It copies the value while it has a lock on a part of the cache, so other calls may wait for it, but not for
// longer than a copy takes. Errors: ErrNotFound, ErrInvalid for the key. Any goroutine.
func (c *Cache) Get(key string) (Item, error) { return c.AppendGet(nil, key) }

// AppendGet is Get, except that the value is appended to p: Value of the result is the extended slice, and p itself after an error. It does not
// allocate if p has room. Errors: ErrNotFound, ErrInvalid for the key. Any goroutine.
func (c *Cache) AppendGet(p []byte, key string) (Item, error) {
	if err := checkKey("get", key); err != nil {
		return Item{Value: p}, err
	}
	x := c.caller()
	it, found := x.fetch(p, bytesOf(key))
	x.detail.get(bytesOf(key), found)
	if !found {
		return it, ErrNotFound
	}
	return it, nil
}

// fetch returns the item of a key, with its value appended to p.
func (x *executor) fetch(p, key []byte) (it Item, found bool) {
	e := x.look(key)
	defer e.Unlock()
	if !e.Found() {
		x.countMiss(false)
		return Item{Value: p}, false
	}
	e.UseAs(store.Get)
	m := e.Meta()
	return Item{
		Value: e.AppendValue(slices.Grow(p, e.Len())),
		Flags: m.Flags, TTL: ttlOf(m.Expires, x.clock.Unix()), CAS: m.CAS,
	}, true
}

// Set stores an item, whether the key has one or not. The value is copied. After an error the key has no item, as in memcached: an old value must
// not be mistaken for the new one. Errors: ErrTooLarge, ErrNoMemory, ErrInvalid for the key. Any goroutine.
func (c *Cache) Set(key string, it Item) error {
	return c.storeItem("set", key, &order{op: protocol.OpSet}, &it)
}

// Add stores an item if the key has none. The value is copied. Errors: ErrExists, ErrTooLarge, ErrNoMemory, ErrInvalid for the key. Any
// goroutine.
func (c *Cache) Add(key string, it Item) error {
	return c.storeItem("add", key, &order{op: protocol.OpAdd}, &it)
}

// CompareAndSwap stores an item if the key still has the item with the unique number it.CAS, which Get has returned. So a program can change an
// item and be sure that no other change is lost:
//
//	it, err := cache.Get(key)
//	// change it.Value
//	err = cache.CompareAndSwap(key, it)
//
// The value is copied. Errors: ErrChanged, after which the program gets the item again; ErrNotFound, ErrTooLarge, ErrNoMemory, after which the
// old item is still there; ErrInvalid for the key, and if it.CAS is 0. Any goroutine.
func (c *Cache) CompareAndSwap(key string, it Item) error {
	if it.CAS == 0 {
		return fmt.Errorf("compare and swap: %w: CAS is 0, which is not the unique number of an item", ErrInvalid)
	}
	return c.storeItem("compare and swap", key, &order{op: protocol.OpCas, cas: it.CAS}, &it)
}

// storeItem executes an order to store an item. op is the operation in texts of errors.
func (c *Cache) storeItem(op, key string, o *order, it *Item) error {
	if err := checkKey(op, key); err != nil {
		return err
	}
	x := c.caller()
	o.key, o.value, o.size = bytesOf(key), it.Value, len(it.Value)
	o.flags, o.expires = it.Flags, expiryOf(it.TTL, c.clock.Unix())
	what := tooLarge
	if c.fits(len(key), it.Flags, len(it.Value)) {
		what, _ = x.put(o)
	} else {
		x.counts.add(storeTooLarge, 1)
		x.logRefused(o.op, o.key, tooLarge, o.size)
		x.forget(o.op, o.key)
	}
	switch what {
	case stored:
		return nil
	case notStored:
		return ErrExists
	case exists:
		return ErrChanged
	case notFound:
		return ErrNotFound
	case tooLarge:
		return fmt.Errorf("%s %q: %w: value of %d bytes", op, key, ErrTooLarge, len(it.Value))
	}
	if errors.Is(o.err, store.ErrLent) || errors.Is(o.err, store.ErrReceived) {
		c.closeSlow(nil, o.key, o.size, time.Now(), false)
	}
	return fmt.Errorf("%s %q: %w: value of %d bytes", op, key, ErrNoMemory, len(it.Value))
}

// Delete removes the item of a key. Errors: ErrNotFound, ErrInvalid for the key. Any goroutine.
func (c *Cache) Delete(key string) error {
	if err := checkKey("delete", key); err != nil {
		return err
	}
	x := c.caller()
	if !x.remove(bytesOf(key)) {
		return ErrNotFound
	}
	return nil
}

// Touch gives an item another TTL, which has the meaning of Item.TTL, and leaves its value and its unique number as they are. Errors: ErrNotFound,
// ErrInvalid for the key. Any goroutine.
func (c *Cache) Touch(key string, ttl time.Duration) error {
	if err := checkKey("touch", key); err != nil {
		return err
	}
	x := c.caller()
	if !x.touch(bytesOf(key), expiryOf(ttl, c.clock.Unix())) {
		return ErrNotFound
	}
	return nil
}

// Increment adds delta to the item's value, a decimal number, and returns the sum. Above 2^64-1 it begins at 0 again. The item keeps its TTL. A
// number that becomes shorter is padded with spaces, as in memcached. Errors: ErrNotFound, ErrNotNumber, ErrNoMemory, ErrInvalid for the key. Any
// goroutine.
func (c *Cache) Increment(key string, delta uint64) (uint64, error) {
	return c.changeNumber("increment", key, true, delta)
}

// Decrement subtracts delta from the item's value, a decimal number, and returns the difference, or 0 if delta is larger. Otherwise it is like
// Increment. Any goroutine.
func (c *Cache) Decrement(key string, delta uint64) (uint64, error) {
	return c.changeNumber("decrement", key, false, delta)
}

// changeNumber executes Increment, or Decrement if up is false. op is the operation in texts of errors.
func (c *Cache) changeNumber(op, key string, up bool, delta uint64) (uint64, error) {
	if err := checkKey(op, key); err != nil {
		return 0, err
	}
	x := c.caller()
	n, what := x.sum(bytesOf(key), up, delta)
	switch what {
	case counted:
		return n, nil
	case noItem:
		return 0, ErrNotFound
	case noNumber:
		return 0, ErrNotNumber
	}
	return 0, fmt.Errorf("%s %q: %w", op, key, ErrNoMemory)
}

// FlushAll removes all items at once, even if Config.NoFlush forbids clients to do so. Any goroutine.
func (c *Cache) FlushAll() {
	x := c.caller()
	x.counts.add(cmdFlush, 1)
	x.flushAll(0)
}

// Stats returns the statistics that a client reads with the stats command, by name. group is the command's argument: "" for the general ones, items,
// slabs, sizes, settings, conns, evmq. For an unknown group there are none. Any goroutine.
func (c *Cache) Stats(group string) map[string]string {
	all := map[string]string{}
	line := func(name, value string) { all[name] = value }
	if group == "" {
		c.statsGeneral(line)
	} else {
		c.statsOf(group, nil, line)
	}
	return all
}
