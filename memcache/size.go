package memcache

// memcached counts an item's size with its own overhead, and -I bounds that sum; so that what fits there fits here, and what
// does not is refused with the same words.
const (
	itemHeader = 48
	itemCAS    = 8
	// itemSlack is what the store may need beyond that.
	itemSlack = 128
)

// fits reports whether an item of this size may be stored.
func (c *Cache) fits(key int, flags uint32, value int) bool {
	n := int64(itemHeader) + int64(key) + 1 + int64(value) + 2
	if flags != 0 {
		n += 4
	}
	if !c.config.NoCAS {
		n += itemCAS
	}
	return n <= int64(c.config.MaxItem)
}
