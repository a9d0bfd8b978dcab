package memcache

// memcached counts an item's size with its own overhead, and -I bounds that sum; so that what fits there fits here, and what
// does not is refused with the same words.
const (
	itemHeader = 48
	itemCAS    = 8
	// itemSlack is what the store may need beyond that.
	itemSlack = 128
	// maxNumberItem is the size above which memcached stores an item in pieces, and then does not take its value for a number.
	maxNumberItem = 512 << 10
)

// fits reports whether an item of this size may be stored.
func (c *Cache) fits(key int, flags uint32, value int) bool {
	return c.itemSize(key, flags, value) <= int64(c.config.MaxItem)
}

// itemSize returns the size of an item in memcached, in bytes.
func (c *Cache) itemSize(key int, flags uint32, value int) int64 {
	n := int64(itemHeader) + int64(key) + 1 + int64(value) + 2
	if flags != 0 {
		n += 4
	}
	if !c.config.NoCAS {
		n += itemCAS
	}
	return n
}
