package memcache

import (
	"fmt"
	"time"
	"unsafe"
)

// An Item is a value of a Cache with its metadata.
type Item struct {
	// Value is the value. Get returns a copy, which belongs to the caller. An empty value may be nil.
	Value []byte
	// Flags are the program's own bits, for example the format of the value. Clients read and set the same bits.
	Flags uint32
	// TTL is the time until the item expires. 0 means that it does not expire; so does a time after February 7th, 2106, the last that the cache can
	// represent. A negative TTL, like that of a time that has passed, means that the item has expired: it replaces an earlier item, and is
	// not found.
	//
	// The cache counts whole seconds, as memcached does. TTL is rounded up to whole seconds, and the first of them has begun when the item is
	// stored. So an item is found for at most TTL rounded up, and for up to a second less. Without Config.Clock the time is read four times a
	// second, so both may be a quarter of a second later. Get returns the remaining seconds, at least one.
	TTL time.Duration
	// CAS is the item's unique number, which changes whenever the item is stored. Get returns it, CompareAndSwap needs it, and other methods
	// ignore it. It is 0 with Config.NoCAS.
	CAS uint64
}

// MaxKey is the maximum length of a key in bytes.
const MaxKey = 250

// checkKey returns an ErrInvalid that names the fault of a key, or nil. The rules are those of the text protocol, so that each client can use
// the keys of the program.
func checkKey(op, key string) error {
	if n := len(key); n == 0 {
		return fmt.Errorf("%s: %w: key is empty", op, ErrInvalid)
	} else if n > MaxKey {
		return fmt.Errorf("%s: %w: key has %d bytes, more than %d: it begins with %.20q", op, ErrInvalid, n, MaxKey, key)
	}
	for i := range len(key) {
		switch c := key[i]; {
		case c == ' ':
			return fmt.Errorf("%s: %w: key has a space at offset %d: %q", op, ErrInvalid, i, key)
		case c < ' ' || c == 0x7f:
			return fmt.Errorf("%s: %w: key has a control byte, %#02x, at offset %d: %q", op, ErrInvalid, c, i, key)
		}
	}
	return nil
}

// bytesOf returns the bytes of a key that is not empty. They must not be written: they are the string's memory. The store only reads keys.
func bytesOf(key string) []byte { return unsafe.Slice(unsafe.StringData(key), len(key)) }

// expiryOf returns the second from which an item with this TTL is gone, 0 for never.
func expiryOf(ttl time.Duration, now int64) int64 {
	switch {
	case ttl == 0:
		return 0
	case ttl < 0:
		return gone
	}
	seconds := int64(ttl / time.Second)
	if ttl%time.Second != 0 {
		seconds++
	}
	return now + seconds
}

// ttlOf returns the TTL of an item that is gone from a second on. The item may have been found in a second before now.
func ttlOf(expires, now int64) time.Duration {
	if expires == 0 {
		return 0
	}
	return time.Duration(max(1, expires-now)) * time.Second
}
