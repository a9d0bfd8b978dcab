package memcache

// Config.MaxItem limits the size that an item has in memcached, including memcached's own overhead. So the same values are refused.
const (
	itemHeader = 48
	itemCAS    = 8
	// itemSlack is the maximum number of bytes by which an item is larger in the store.
	itemSlack = 128
	// maxNumberItem is the size above which memcached stores an item in pieces, and does not treat its value as a number.
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
