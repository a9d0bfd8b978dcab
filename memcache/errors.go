package memcache

import "errors"

// Errors of a Cache. They are for errors.Is: ErrInvalid, ErrTooLarge and ErrNoMemory are wrapped in a text with the value.
var (
	// ErrInvalid means that a field of a Config or an argument is invalid. The text names it and its value.
	ErrInvalid = errors.New("memcache: invalid value")
	// ErrNotFound means that the key has no item: it was never stored, or it was deleted, has expired, or was evicted.
	ErrNotFound = errors.New("memcache: item not found")
	// ErrExists means that Add has found an item.
	ErrExists = errors.New("memcache: item exists")
	// ErrChanged means that CompareAndSwap has found another item than the one that Get returned.
	ErrChanged = errors.New("memcache: item has changed")
	// ErrNotNumber means that Increment or Decrement has found a value that is not a number.
	ErrNotNumber = errors.New("memcache: value is not a number")
	// ErrTooLarge means that an item is larger than Config.MaxItem.
	ErrTooLarge = errors.New("memcache: item too large")
	// ErrNoMemory means that there is no room for an item: Config.NoEvict is set, or the memory is in use by clients that have not read their
	// values yet or are sending values. The latter is temporary.
	ErrNoMemory = errors.New("memcache: out of memory")
)
