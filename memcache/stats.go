package memcache

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/evmq/evmq/memcache/protocol"
	"github.com/evmq/evmq/memcache/store"
	"github.com/evmq/evmq/server"
)

// emit takes one line of an answer to stats.
type emit func(name, value string)

// textStats serves stats.
func (w *worker) textStats() {
	args := w.req.Args
	line := func(name, value string) {
		w.out = append(w.out, "STAT "...)
		w.out = append(w.out, name...)
		w.out = append(w.out, ' ')
		w.out = append(w.out, value...)
		w.end()
	}
	if len(args) == 1 {
		w.statsGeneral(line)
		w.line("END")
		return
	}
	switch what := string(args[1]); what {
	case "reset":
		w.resetStats()
		w.line("RESET")
	case "detail":
		w.statsDetail(args)
	case "sizes_enable", "sizes_disable": // they are always counted. memcached's answer has no end, either
		line("sizes_status", "enabled")
	case "cachedump": // a class at a time, and there are none: lru_crawler metadump lists all keys
		w.line(w.refuseCachedump(args))
	default:
		if !w.statsOf(what, line) {
			w.line(string(protocol.Unknown))
			return
		}
		w.line("END")
	}
}

// slabClasses is how many memcached has.
const slabClasses = 64

// refuseCachedump says what is wrong with a stats cachedump.
func (w *worker) refuseCachedump(args [][]byte) string {
	if !w.config.NoDump {
		if len(args) < 4 {
			return "CLIENT_ERROR bad command line"
		}
		id, ok := protocol.SmallNumber(args[2])
		if _, second := protocol.SmallNumber(args[3]); !ok || !second {
			return string(protocol.BadFormat)
		}
		if id >= slabClasses {
			return "CLIENT_ERROR Illegal slab id"
		}
	}
	return "CLIENT_ERROR stats cachedump not allowed"
}

// statsOf emits what a word after stats asks for.
func (c *Cache) statsOf(what string, line emit) (known bool) {
	switch what {
	case "settings":
		c.statsSettings(line)
	case "items":
		c.statsItems(line)
	case "slabs":
		c.statsSlabs(line)
	case "sizes":
		c.statsSizes(line)
	case "conns":
		c.statsConns(line)
	default:
		return false
	}
	return true
}

// statsDetail serves stats detail on, off and dump.
func (w *worker) statsDetail(args [][]byte) {
	what := ""
	if len(args) > 2 {
		what = string(args[2])
	}
	switch what {
	case "on", "off":
		w.detail.on.Store(what == "on")
		w.line("OK")
	case "dump":
		w.out = w.detail.appendDump(w.out)
	default:
		w.line("CLIENT_ERROR usage: stats detail on|off|dump")
	}
}

// binStats serves the binary protocol's stat: a frame for each line, and one without key and value at the end.
func (w *worker) binStats() {
	f := &w.bin
	line := func(name, value string) {
		w.out = protocol.AppendResponse(w.out, f, protocol.Success, 0, nil, []byte(name), len(value))
		w.out = append(w.out, value...)
	}
	switch what := string(f.Key); {
	case what == "sizes_enable", what == "sizes_disable":
		line("sizes_status", "enabled")
	case what == "":
		w.statsGeneral(line)
	case what == "reset":
		w.resetStats()
	case strings.HasPrefix(what, "detail"):
		switch strings.TrimPrefix(what, "detail") {
		case " on", " off":
			w.detail.on.Store(what == "detail on")
		case " dump":
			line("detailed", string(w.detail.appendDump(nil)))
		default:
			w.status(protocol.KeyNotFound)
			return
		}
	case !w.statsOf(what, line):
		w.status(protocol.KeyNotFound)
		return
	}
	line("", "")
}

// total is what all workers have counted since the last reset.
func (c *Cache) total() sum {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.totalLocked()
}

func (c *Cache) totalLocked() sum {
	var s sum
	s.add(&c.retired)
	s.add(&c.packets.worker.counts)
	for _, w := range c.loops {
		s.add(&w.counts)
	}
	for i := range s {
		s[i] -= c.base[i]
	}
	return s
}

// resetStats makes total begin anew.
func (c *Cache) resetStats() {
	opened, _ := c.connections()
	c.mu.Lock()
	for i, n := range c.totalLocked() {
		c.base[i] += n
	}
	c.opened = opened.Opened
	c.mu.Unlock()
	st, classes := c.store.Stats(), c.store.Classes()
	c.resetAt.Store(&st)
	c.classes.Store(&classes)
	c.detail.reset()
}

// since is what the store has done since the last reset; what it holds is not touched by one.
func (c *Cache) since() store.Stats {
	st := c.store.Stats()
	if at := c.resetAt.Load(); at != nil {
		st.Add(-1, &at.Counts)
		st.Promoted -= at.Promoted
		st.Spared -= at.Spared
		st.Reaped -= at.Reaped
	}
	return st
}

// eachClass goes through the size classes that ever had an item, by their numbers, with what has happened to each since the last reset.
func (c *Cache) eachClass(fn func(n int, k *store.Class)) {
	before := c.classes.Load()
	for i, k := range c.store.Classes() {
		if k.Total == 0 && k.Ops[store.Set] == 0 {
			continue
		}
		if before != nil {
			k.Add(-1, &(*before)[i].Counts)
		}
		fn(i+1, &k)
	}
}

// connections adds up the servers' counts.
func (c *Cache) connections() (s server.Stats, loops int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, srv := range c.servers {
		st := srv.Stats()
		s.Conns += st.Conns
		s.Opened += st.Opened
		s.Refused += st.Refused
		s.Pauses += st.Pauses
		loops += len(st.Loops)
	}
	return s, loops
}

// statsGeneral emits the lines of stats without a word.
func (c *Cache) statsGeneral(line emit) {
	n := c.total()
	st := c.since()
	conns, loops := c.connections()
	now := c.clock.Unix()
	number := func(name string, v uint64) { line(name, strconv.FormatUint(v, 10)) }
	line("pid", strconv.Itoa(os.Getpid()))
	number("uptime", uint64(now-c.began))
	number("time", uint64(now))
	line("version", Version)
	number("pointer_size", strconv.IntSize)
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) == nil {
		line("rusage_user", seconds(usage.Utime))
		line("rusage_system", seconds(usage.Stime))
	}
	number("max_connections", uint64(c.setting("maxconns")))
	number("curr_connections", uint64(conns.Conns))
	c.mu.Lock()
	number("total_connections", conns.Opened-c.opened)
	c.mu.Unlock()
	number("rejected_connections", conns.Refused)
	number("connection_structures", uint64(conns.Conns))
	op := func(which store.Op) uint64 { return uint64(st.Ops[which]) }
	number("cmd_get", op(store.Get)+n[getMisses])
	number("cmd_set", op(store.Set))
	number("cmd_flush", n[cmdFlush])
	number("cmd_touch", op(store.Touch)+n[touchMisses])
	number("cmd_meta", n[cmdMeta])
	number("get_hits", op(store.Get))
	number("get_misses", n[getMisses])
	number("get_expired", n[getExpired])
	number("get_flushed", 0) // nobody meets what is flushed: it goes at once
	number("delete_misses", n[deleteMisses])
	number("delete_hits", op(store.Delete))
	number("incr_misses", n[incrMisses])
	number("incr_hits", op(store.Incr))
	number("decr_misses", n[decrMisses])
	number("decr_hits", op(store.Decr))
	number("cas_misses", n[casMisses])
	number("cas_hits", op(store.CAS))
	number("cas_badval", op(store.BadCAS))
	number("touch_hits", op(store.Touch))
	number("touch_misses", n[touchMisses])
	number("store_too_large", n[storeTooLarge])
	number("store_no_memory", n[storeNoMemory])
	number("auth_cmds", n[authCmds])
	number("auth_errors", n[authErrors])
	number("bytes_read", n[bytesRead])
	number("bytes_written", n[bytesWritten])
	number("limit_maxbytes", uint64(st.Limit))
	accepting := "1"
	if most := c.setting("maxconns"); most > 0 && conns.Conns >= most {
		accepting = "0"
	}
	line("accepting_conns", accepting)
	var waits uint64
	var waited time.Duration
	if c.config.Waits != nil {
		waits, waited = c.config.Waits()
	}
	number("listen_disabled_num", conns.Pauses+waits)
	number("time_in_listen_disabled_us", uint64(waited.Microseconds()))
	number("idle_kicks", c.kicked.Load())
	number("slow_readers_closed", c.cutOff.Load())
	number("threads", uint64(loops))
	number("conn_yields", n[connYields])
	number("hash_power_level", uint64(powerOf(st.Buckets)))
	number("hash_bytes", uint64(st.Index))
	number("hash_is_expanding", 0) // it grows bucket by bucket
	number("malloc_fails", 0)      // a program in Go that gets no memory has ended
	number("bytes", uint64(st.Bytes))
	number("curr_items", uint64(st.Items))
	number("total_items", uint64(st.Total))
	number("expired_unfetched", uint64(st.ExpiredUnfetched))
	number("evicted_unfetched", uint64(st.EvictedUnfetched))
	number("evicted_active", uint64(st.EvictedWanted))
	number("evictions", uint64(st.Evicted))
	number("reclaimed", uint64(st.Expired))
	number("crawler_reclaimed", uint64(st.Reaped))
	number("direct_reclaims", uint64(st.Evicted)) // all evictions are made by who needs the room
	number("moves_to_cold", 0)                    // what nobody wants leaves at once, and is remembered
	number("moves_to_warm", uint64(st.Promoted))
	number("moves_within_lru", uint64(st.Spared))
}

func seconds(t syscall.Timeval) string {
	d := time.Duration(t.Nano())
	return fmt.Sprintf("%d.%06d", d/time.Second, d%time.Second/time.Microsecond)
}

// powerOf is the logarithm of n to the base 2, rounded up.
func powerOf(n int64) int {
	power := 0
	for int64(1)<<power < n {
		power++
	}
	return power
}
