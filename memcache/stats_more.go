package memcache

import (
	"fmt"
	"strconv"

	"github.com/evmq/evmq/memcache/store"
	"github.com/evmq/evmq/server"
)

// statsSettings emits how the cache is configured: what it knows itself and what the program has told.
func (c *Cache) statsSettings(line emit) {
	line("maxbytes", strconv.FormatInt(c.store.Stats().Limit, 10))
	for _, s := range c.config.Settings {
		line(s.Name, s.Value)
	}
	line("verbosity", strconv.Itoa(int(c.verbosity.Load())))
	onOff := map[bool]string{true: "on", false: "off"}
	line("evictions", onOff[!c.config.NoEvict])
	line("oldest", strconv.FormatInt(c.flushed.Load(), 10))
	line("shutdown_command", yesNo(c.config.Shutdown != nil))
	line("stat_key_prefix", ":")
	line("detail_enabled", yesNo(c.detail.on.Load()))
	line("reqs_per_event", strconv.Itoa(c.config.PerTurn))
	line("cas_enabled", yesNo(!c.config.NoCAS))
	line("binding_protocol", c.config.Protocol.String())
	line("auth_enabled_sasl", yesNo(c.config.SASL))
	line("auth_enabled_ascii", yesNo(c.config.Users != nil && !c.config.SASL))
	line("item_size_max", strconv.Itoa(c.config.MaxItem))
	line("flush_enabled", yesNo(!c.config.NoFlush))
	line("dump_enabled", yesNo(!c.config.NoDump))
	line("track_sizes", "yes")
}

// setting is a number among what the program has told; 0 without.
func (c *Cache) setting(name string) int {
	for _, s := range c.config.Settings {
		if s.Name == name {
			n, _ := strconv.Atoi(s.Value) // a word is no number
			return n
		}
	}
	return 0
}

// statsItems emits what has happened to the items of each size class.
func (c *Cache) statsItems(line emit) {
	age := c.store.Stats().OldestAge
	c.eachClass(func(n int, k *store.Class) {
		number := func(name string, v int64) { line(fmt.Sprintf("items:%d:%s", n, name), strconv.FormatInt(v, 10)) }
		number("number", k.Items)
		if k.Items > 0 {
			number("age", age)
		} else {
			number("age", 0)
		}
		number("mem_requested", k.Bytes)
		number("evicted", k.Evicted)
		number("evicted_nonzero", k.EvictedExpiring)
		number("evicted_time", k.EvictedIdle)
		number("outofmemory", k.Refused)
		number("reclaimed", k.Expired)
		number("expired_unfetched", k.ExpiredUnfetched)
		number("evicted_unfetched", k.EvictedUnfetched)
		number("evicted_active", k.EvictedWanted)
	})
}

// slabPage is the size of memcached's pages.
const slabPage = 1 << 20

// statsSlabs emits the size classes as memcached's slabs, which the store does not have: memory is not bound to a class, so no class
// has free chunks, and its pages are those that its items would fill.
func (c *Cache) statsSlabs(line emit) {
	active := 0
	c.eachClass(func(n int, k *store.Class) {
		active++
		number := func(name string, v int64) { line(fmt.Sprintf("%d:%s", n, name), strconv.FormatInt(v, 10)) }
		number("chunk_size", k.Size)
		number("chunks_per_page", max(1, slabPage/k.Size))
		number("total_pages", (k.Bytes+slabPage-1)/slabPage)
		number("total_chunks", k.Items)
		number("used_chunks", k.Items)
		number("free_chunks", 0)
		number("free_chunks_end", 0)
		number("mem_requested", k.Bytes)
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

// statsSizes emits how many items there are of each size.
func (c *Cache) statsSizes(line emit) {
	for _, k := range c.store.Classes() {
		if k.Items > 0 {
			line(strconv.FormatInt(k.Size, 10), strconv.FormatInt(k.Items, 10))
		}
	}
}

// statsConns emits the connections.
func (c *Cache) statsConns(line emit) {
	c.mu.Lock()
	servers := append([]*server.Server(nil), c.servers...)
	c.mu.Unlock()
	now := c.clock.Unix()
	fd := 0 // a number, as descriptors are there
	for _, srv := range servers {
		for conn := range srv.Conns() {
			s, ok := conn.Data().(*session)
			if !ok {
				continue
			}
			fd++
			line(fmt.Sprintf("%d:addr", fd), named(conn.RemoteAddr()))
			line(fmt.Sprintf("%d:listen_addr", fd), named(conn.LocalAddr()))
			line(fmt.Sprintf("%d:state", fd), "conn_read")
			line(fmt.Sprintf("%d:secs_since_last_cmd", fd), strconv.FormatInt(now-s.last.Load(), 10))
		}
	}
}
