package store

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"time"
)

// Defaults of the fields of a Config.
const (
	DefaultMemory  = 64 << 20
	DefaultMaxItem = 1 << 20
)

// Limits of a Config's fields.
const (
	MinMemory  = 1 << 20 // for each shard, too
	MaxShards  = 64
	MaxMemory  = MaxShards * maxShard
	MaxMaxItem = 1 << 30
)

const (
	maxShard  int64 = 32 << 30 // bytes that a ref can reach
	goodShard int64 = 8 << 20  // bytes, and 16 of the largest items; with smaller shards the hit ratio falls
)

var (
	// ErrInvalid is the error of an invalid field of a Config, which its text names, and of an invalid limit for SetMemory.
	ErrInvalid = errors.New("store: bad configuration")
	// ErrTooLarge is the error for an item longer than MaxItem, or with a key of more than 255 bytes.
	ErrTooLarge = errors.New("store: item too large")
	// ErrNoMemory is the error for an item for which no room can be made: eviction is disabled, or the item does not fit into the memory.
	ErrNoMemory = errors.New("store: out of memory")
	// ErrLent is an ErrNoMemory that may be temporary: there may be memory when leases have been returned.
	ErrLent = fmt.Errorf("%w: too much is lent", ErrNoMemory)
	// ErrReceived is an ErrNoMemory that may be over when values that are being received are complete or freed.
	ErrReceived = fmt.Errorf("%w: too much is being received", ErrNoMemory)
)

// Config is the configuration of a Store. The zero value is the default.
type Config struct {
	// Memory bounds the memory of the store in bytes: items, tables and free space between items. 0 means DefaultMemory.
	Memory int64
	// MaxItem bounds an item, in bytes: key, value and a head of 56 bytes. 0 means DefaultMaxItem.
	MaxItem int
	// Shards is the number of parts of the store, each with its own lock: a power of two up to MaxShards. Each has the same
	// share of Memory. 0 chooses by GOMAXPROCS, Memory and MaxItem.
	Shards int
	// NoEvict makes a full store refuse with ErrNoMemory. Items that have expired still make room.
	NoEvict bool
	// Now is the clock, in seconds, from 1 to 2^32-1. It is called in each operation, so it must be cheap, and it must not use the
	// store. If its result decreases, the store uses the highest one. Nil means the seconds since 1970, read from
	// the system in each operation.
	Now func() int64
	// Evicted, if set, is called for each item before it is evicted. It is called with a lock held, so it must be fast and must not use
	// the store.
	Evicted func(Evicted)
}

// Evicted describes an item that is evicted.
type Evicted struct {
	Key     []byte // the store's memory: valid until the call returns, must not be written
	Fetched bool   // Entry.Use was called since it was stored
	Expires int64  // as Meta.Expires
	Idle    int64  // seconds since it was last used
	Size    int    // of the item, bytes: see Entry.Size
	Value   int    // length of the value, bytes
}

// withDefaults returns c with defaults in the place of zeros. The error is ErrInvalid.
func (c Config) withDefaults() (Config, error) {
	if c.Memory == 0 {
		c.Memory = DefaultMemory
	}
	if c.MaxItem == 0 {
		c.MaxItem = DefaultMaxItem
	}
	if c.Now == nil {
		c.Now = func() int64 { return time.Now().Unix() }
	}
	if c.Memory < MinMemory {
		return c, fmt.Errorf("%w: Memory is %d bytes, the least is %d", ErrInvalid, c.Memory, MinMemory)
	}
	if c.Memory > MaxMemory {
		return c, fmt.Errorf("%w: Memory is %d bytes, the most is %d", ErrInvalid, c.Memory, MaxMemory)
	}
	if c.MaxItem < headSize || c.MaxItem > MaxMaxItem {
		return c, fmt.Errorf("%w: MaxItem is %d bytes, not from %d to %d", ErrInvalid, c.MaxItem, headSize, MaxMaxItem)
	}
	if c.Shards == 0 {
		c.Shards = c.choose()
	}
	if c.Shards < 1 || c.Shards > MaxShards || c.Shards&(c.Shards-1) != 0 {
		return c, fmt.Errorf("%w: Shards is %d, not a power of two up to %d", ErrInvalid, c.Shards, MaxShards)
	}
	return c, checkShare(c.Memory, c.Shards)
}

// checkShare checks the memory of each shard.
func checkShare(memory int64, shards int) error {
	if share := memory / int64(shards); share < MinMemory || share > maxShard {
		return fmt.Errorf("%w: %d bytes in %d shards are %d each, not from %d to %d", ErrInvalid, memory, shards, share, MinMemory, maxShard)
	}
	return nil
}

// choose returns the number of shards: enough for GOMAXPROCS processors to rarely wait for each other, but none too small.
func (c *Config) choose() int {
	most := c.Memory / max(goodShard, 16*int64(c.MaxItem))
	n := min(int64(4*runtime.GOMAXPROCS(0)), most, MaxShards)
	n = max(n, (c.Memory+maxShard-1)/maxShard, 1)
	return 1 << bits.Len64(uint64(n-1))
}

// second returns t, limited to the range of the store's clock.
func second(t int64) uint32 { return uint32(max(1, min(t, math.MaxUint32))) }
