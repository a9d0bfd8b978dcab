package memcache

import (
	"fmt"
	"strconv"

	"github.com/evmq/evmq/internal/memcache/store"
)

// statsItems emits the counts of each size class with items. The store has no LRU segments as in memcached: all items count as cold, the segment
// in which memcached has most items.
func (c *Cache) statsItems(line emit) {
	age := c.store.Stats().OldestAge
	maintained, temporary := c.tuning.on("lru_maintainer_thread"), c.tuning.on("temp_lru")
	c.eachClass(func(n int, k *store.Class) {
		if k.Items == 0 {
			return
		}
		number := func(name string, v int64) { line(fmt.Sprintf("items:%d:%s", n, name), strconv.FormatInt(v, 10)) }
		zeros := func(names ...string) {
			for _, name := range names {
				number(name, 0)
			}
		}
		number("number", k.Items)
		if maintained {
			zeros("number_hot", "number_warm")
			number("number_cold", k.Items)
			if temporary {
				zeros("number_temp")
			}
			zeros("age_hot", "age_warm")
		}
		number("age", age)
		number("mem_requested", k.Bytes)
		number("evicted", k.Evicted)
		number("evicted_nonzero", k.EvictedExpiring)
		number("evicted_time", k.EvictedIdle)
		number("outofmemory", k.Refused)
		zeros("tailrepairs")
		number("reclaimed", k.Expired)
		number("expired_unfetched", k.ExpiredUnfetched)
		number("evicted_unfetched", k.EvictedUnfetched)
		if maintained {
			number("evicted_active", k.EvictedActive)
		}
		zeros("crawler_reclaimed", "crawler_items_checked", "lrutail_reflocked")
		if maintained {
			zeros("moves_to_cold", "moves_to_warm", "moves_within_lru")
			number("direct_reclaims", k.Evicted)
			zeros("hits_to_hot", "hits_to_warm")
			number("hits_to_cold", k.Ops[store.Get])
			zeros("hits_to_temp")
		}
	})
}

// slabPage is the size of memcached's pages.
const slabPage = 1 << 20

// largestOf returns the maximum size of an item of a class.
func (c *Cache) largestOf(k *store.Class) int64 {
	return min(k.Size, int64(c.config.MaxItem)+itemSlack)
}

// pagesOf returns the number of slab pages that the items of a class would fill.
func pagesOf(k *store.Class) int64 { return (k.Bytes + slabPage - 1) / slabPage }

// statsSlabs emits the size classes in the form of memcached's slabs, which the store does not have: memory is not assigned to classes, so no
// class has free chunks.
func (c *Cache) statsSlabs(line emit) {
	active := 0
	c.eachClass(func(n int, k *store.Class) {
		active++
		number := func(name string, v int64) { line(fmt.Sprintf("%d:%s", n, name), strconv.FormatInt(v, 10)) }
		size := c.largestOf(k)
		number("chunk_size", size)
		number("chunks_per_page", max(1, slabPage/size))
		number("total_pages", pagesOf(k))
		number("total_chunks", k.Items)
		number("used_chunks", k.Items)
		number("free_chunks", 0)
		number("free_chunks_end", 0)
		number("get_hits", k.Ops[store.Get])
		number("cmd_set", k.Ops[store.Set])
		number("delete_hits", k.Ops[store.Delete])
		number("incr_hits", k.Ops[store.Incr])
		number("decr_hits", k.Ops[store.Decr])
		number("cas_hits", k.Ops[store.CAS])
		number("cas_badval", k.Ops[store.BadCAS])
		number("touch_hits", k.Ops[store.Touch])
	})
	line("active_slabs", strconv.Itoa(active))
	line("total_malloced", strconv.FormatInt(c.store.Stats().Memory, 10))
}

// sizeStep is the distance in bytes between the sizes in stats sizes.
const sizeStep = 32

// statsSizes emits the number of items of each size, in steps of 32 bytes up to 256 bytes, and of the width of a class above. Before
// stats sizes_enable it emits that sizes are disabled.
func (c *Cache) statsSizes(line emit) {
	if !c.tuning.on("track_sizes") {
		line("sizes_status", "disabled")
		return
	}
	var size, items int64 // of the step that is being added up
	flush := func() {
		if items > 0 {
			line(strconv.FormatInt(size, 10), strconv.FormatInt(items, 10))
		}
	}
	for _, k := range c.store.Classes() {
		step := (c.largestOf(&k) + sizeStep - 1) / sizeStep * sizeStep
		if step != size {
			flush()
			size, items = step, 0
		}
		items += k.Items
	}
	flush()
}

// trackSizes serves stats sizes_enable and sizes_disable. Sizes are always counted; the commands determine whether stats sizes shows them.
func (c *Cache) trackSizes(enable bool, line emit) {
	if enable && c.config.NoCAS {
		line("sizes_status", "error")
		line("sizes_error", "cas_support_disabled")
		return
	}
	c.tuning.set("track_sizes", yesNo(enable))
	line("sizes_status", map[bool]string{true: "enabled", false: "disabled"}[enable])
}
