package memcache

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/server"
)

// number emits a whole number.
func (line emit) number(name string, v uint64) { line(name, strconv.FormatUint(v, 10)) }

// zeros emits statistics of parts that this cache does not have.
func (line emit) zeros(names ...string) {
	for _, name := range names {
		line(name, "0")
	}
}

// statsGeneral emits the answer to stats without arguments: the lines of memcached, in its order. Lines that depend on a setting depend on it
// as in memcached.
func (c *Cache) statsGeneral(line emit) {
	n, st := c.total(), c.since()
	conns, loops := c.connections()
	c.statsProcess(line)
	c.statsConnections(line, conns)
	c.statsCommands(line, &n, &st)
	c.statsTraffic(line, &n, &st, conns, loops)
	c.statsMaintenance(line)
	c.statsStore(line, &n, &st)
}

// statsProcess emits statistics about the process.
func (c *Cache) statsProcess(line emit) {
	now := c.clock.Unix()
	line("pid", strconv.Itoa(os.Getpid()))
	line.number("uptime", uint64(now-c.began))
	line.number("time", uint64(now))
	line("version", Version)
	line("libevent", "none") // package event has the loops
	line.number("pointer_size", strconv.IntSize)
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		line("rusage_user", seconds(usage.Utime))
		line("rusage_system", seconds(usage.Stime))
	}
}

// statsConnections emits statistics about connections and their buffers.
func (c *Cache) statsConnections(line emit, conns server.Stats) {
	line.number("max_connections", uint64(c.setting("maxconns")))
	line.number("curr_connections", uint64(conns.OpenConns))
	c.mu.Lock()
	total := conns.Opened - c.opened
	c.mu.Unlock()
	line.number("total_connections", total)
	if c.tuning.get("maxconns_fast") != "no" {
		line.number("rejected_connections", conns.Refused)
	}
	line.number("connection_structures", uint64(conns.OpenConns))
	line.zeros("response_obj_oom", "response_obj_count", "response_obj_bytes", "read_buf_count", "read_buf_bytes", "read_buf_bytes_free",
		"read_buf_oom", "reserved_fds")
}

// statsCommands emits the hits and misses of each command.
func (c *Cache) statsCommands(line emit, n *sum, st *store.Stats) {
	op := func(which store.Op) uint64 { return uint64(st.Ops[which]) }
	for _, count := range []struct {
		name string
		n    uint64
	}{
		{"cmd_get", op(store.Get) + n[getMisses]},
		{"cmd_set", op(store.Set)},
		{"cmd_flush", n[cmdFlush]},
		{"cmd_touch", op(store.Touch) + n[touchMisses]},
		{"cmd_meta", n[cmdMeta]},
		{"get_hits", op(store.Get)},
		{"get_misses", n[getMisses]},
		{"get_expired", uint64(st.LateLookups)},
		{"get_flushed", uint64(st.FlushedLookups)},
		{"delete_misses", n[deleteMisses]},
		{"delete_hits", op(store.Delete)},
		{"incr_misses", n[incrMisses]},
		{"incr_hits", op(store.Incr)},
		{"decr_misses", n[decrMisses]},
		{"decr_hits", op(store.Decr)},
		{"cas_misses", n[casMisses]},
		{"cas_hits", op(store.CAS)},
		{"cas_badval", op(store.BadCAS)},
		{"touch_hits", op(store.Touch)},
		{"touch_misses", n[touchMisses]},
		{"store_too_large", n[storeTooLarge]},
		{"store_no_memory", n[storeNoMemory]},
		{"auth_cmds", n[authCmds]},
		{"auth_errors", n[authErrors]},
	} {
		line.number(count.name, count.n)
	}
}

// statsTraffic emits bytes, limits and the number of loops.
func (c *Cache) statsTraffic(line emit, n *sum, st *store.Stats, conns server.Stats, loops int) {
	if c.setting("idle_timeout") > 0 {
		line.number("idle_kicks", c.idleClosed.Load())
	}
	line.number("bytes_read", n[bytesRead])
	line.number("bytes_written", n[bytesWritten])
	line.number("limit_maxbytes", uint64(st.Limit))
	accepting := uint64(1)
	if most := c.setting("maxconns"); most > 0 && conns.OpenConns >= most {
		accepting = 0
	}
	line.number("accepting_conns", accepting)
	var waits uint64
	var waited time.Duration
	if c.config.Waits != nil {
		waits, waited = c.config.Waits()
	}
	line.number("listen_disabled_num", conns.Pauses+waits)
	line.number("time_in_listen_disabled_us", uint64(waited.Microseconds()))
	line.number("threads", uint64(loops))
	line.number("conn_yields", n[connYields])
	line.number("hash_power_level", uint64(powerOf(st.Buckets)))
	line.number("hash_bytes", uint64(st.Index))
	line.zeros("hash_is_expanding") // the index grows bucket by bucket
}

// statsMaintenance emits the statistics of memcached's background threads, which this cache does not have, and of the log.
func (c *Cache) statsMaintenance(line emit) {
	if c.tuning.on("slab_reassign") {
		line.zeros("slab_reassign_rescues", "slab_reassign_chunk_rescues", "slab_reassign_evictions_nomem", "slab_reassign_inline_reclaim",
			"slab_reassign_busy_items", "slab_reassign_busy_deletes", "slab_reassign_running", "slabs_moved")
	}
	if c.tuning.on("lru_crawler") {
		line.zeros("lru_crawler_running", "lru_crawler_starts")
	}
	if c.tuning.on("lru_maintainer_thread") {
		line.zeros("lru_maintainer_juggles")
	}
	line.zeros("malloc_fails") // a Go program ends when it cannot allocate memory
	c.statsLog(line)
	c.statsTLS(line)
	line.zeros("unexpected_napi_ids", "round_robin_fallback")
}

// statsStore emits the statistics of the store.
func (c *Cache) statsStore(line emit, n *sum, st *store.Stats) {
	maintained := c.tuning.on("lru_maintainer_thread")
	line.number("bytes", uint64(st.Bytes))
	line.number("curr_items", uint64(st.Items))
	line.number("total_items", uint64(st.Total))
	line.zeros("slab_global_page_pool")
	line.number("expired_unfetched", uint64(st.ExpiredUnfetched))
	line.number("evicted_unfetched", uint64(st.EvictedUnfetched))
	if maintained {
		line.number("evicted_active", uint64(st.EvictedActive))
	}
	line.number("evictions", uint64(st.Evicted))
	line.number("reclaimed", uint64(max(0, st.Expired-int64(n[crawlerReclaimed]))))
	line.number("crawler_reclaimed", n[crawlerReclaimed])
	line.zeros("crawler_items_checked", "lrutail_reflocked")
	if maintained {
		line.zeros("moves_to_cold") // an unused item is evicted at once, and its key remembered
		line.number("moves_to_warm", uint64(st.Promoted))
		line.number("moves_within_lru", uint64(st.Reinserted))
		line.number("direct_reclaims", uint64(st.Evicted)) // every eviction is made by the request that needs the room
		line.zeros("lru_bumps_dropped")
	}
}

// seconds formats a time in seconds with six decimals, as memcached does.
func seconds(t syscall.Timeval) string {
	d := time.Duration(t.Nano())
	return fmt.Sprintf("%d.%06d", d/time.Second, d%time.Second/time.Microsecond)
}

// powerOf returns the logarithm of n to the base 2, rounded up.
func powerOf(n int64) int {
	power := 0
	for int64(1)<<power < n {
		power++
	}
	return power
}
