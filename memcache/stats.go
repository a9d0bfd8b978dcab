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
			w.status(protocol.Invalid)
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
		st.Total -= at.Total
		st.Evicted -= at.Evicted
		st.EvictedUnfetched -= at.EvictedUnfetched
		st.Expired -= at.Expired
		st.ExpiredUnfetched -= at.ExpiredUnfetched
		st.Reaped -= at.Reaped
		st.Refused -= at.Refused
	}
	return st
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
	for _, s := range generalCounters {
		number(s.name, n[s.which])
	}
	number("get_flushed", 0) // nobody meets what is flushed: it goes at once
	number("limit_maxbytes", uint64(st.Limit))
	accepting := "1"
	if most := c.setting("maxconns"); most > 0 && conns.Conns >= most {
		accepting = "0"
	}
	line("accepting_conns", accepting)
	number("listen_disabled_num", conns.Pauses)
	number("threads", uint64(loops))
	number("conn_yields", n[connYields])
	number("hash_power_level", uint64(powerOf(st.Buckets)))
	number("hash_bytes", uint64(st.Index))
	number("bytes", uint64(st.Bytes))
	number("curr_items", uint64(st.Items))
	number("total_items", uint64(st.Total))
	number("expired_unfetched", uint64(st.ExpiredUnfetched))
	number("evicted_unfetched", uint64(st.EvictedUnfetched))
	number("evictions", uint64(st.Evicted))
	number("reclaimed", uint64(st.Expired))
	number("crawler_reclaimed", uint64(st.Reaped))
}

// generalCounters are the lines that are only counters, by memcached's names and in its order.
var generalCounters = []struct {
	name  string
	which counter
}{
	{"cmd_get", cmdGet}, {"cmd_set", cmdSet}, {"cmd_flush", cmdFlush}, {"cmd_touch", cmdTouch}, {"cmd_meta", cmdMeta},
	{"get_hits", getHits}, {"get_misses", getMisses}, {"get_expired", getExpired}, {"delete_misses", deleteMisses}, {"delete_hits", deleteHits}, {"incr_misses", incrMisses}, {"incr_hits", incrHits},
	{"decr_misses", decrMisses}, {"decr_hits", decrHits}, {"cas_misses", casMisses}, {"cas_hits", casHits}, {"cas_badval", casBadval},
	{"touch_hits", touchHits}, {"touch_misses", touchMisses}, {"store_too_large", storeTooLarge}, {"store_no_memory", storeNoMemory},
	{"auth_cmds", authCmds}, {"auth_errors", authErrors}, {"bytes_read", bytesRead}, {"bytes_written", bytesWritten},
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
