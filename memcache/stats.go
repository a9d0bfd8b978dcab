package memcache

import (
	"strings"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
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
	case "sizes_enable", "sizes_disable": // as in memcached, the answer has no end
		w.trackSizes(what == "sizes_enable", line)
	case "cachedump":
		w.cachedump(args)
	default:
		if !w.statsOf(what, w.conn, line) {
			w.line(string(protocol.Unknown))
			return
		}
		w.line("END")
	}
}

// statsOf emits the statistics for an argument of stats. asking is the connection of the request, if it has one.
func (c *Cache) statsOf(what string, asking *server.Conn, line emit) (known bool) {
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
		c.statsConns(asking, line)
	case "evmq":
		c.statsOwn(line)
	case "extstore": // as of a memcached without storage on disk
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
		w.trackSizes(what == "sizes_enable", line)
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
	case !w.statsOf(what, w.conn, line):
		w.status(protocol.KeyNotFound)
		return
	}
	line("", "")
}

// total returns the counts of all workers and calls since the last reset.
func (c *Cache) total() sum {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.totalLocked()
}

func (c *Cache) totalLocked() sum {
	var s sum
	s.add(&c.retired)
	s.add(&c.callCounts)
	s.add(c.packets.worker.counts)
	for _, w := range c.loops {
		s.add(w.counts)
	}
	for i := range s {
		s[i] -= c.base[i]
	}
	return s
}

// resetStats makes the totals begin at zero.
func (c *Cache) resetStats() {
	opened, _ := c.connections()
	c.mu.Lock()
	for i, n := range c.totalLocked() {
		c.base[i] += n
	}
	c.opened, c.failedHandshakes = opened.Opened, opened.FailedHandshakes
	c.watchCounts = c.hub.Counts()
	c.mu.Unlock()
	st, classes := c.store.Stats(), c.sizeClasses()
	c.resetAt.Store(&st)
	c.classes.Store(&classes)
	c.detail.reset()
}

// since returns the store's statistics with the counts since the last reset. A reset does not affect the content of the store.
func (c *Cache) since() store.Stats {
	st := c.store.Stats()
	if at := c.resetAt.Load(); at != nil {
		st.Add(-1, &at.Counts)
		st.Promoted -= at.Promoted
		st.Reinserted -= at.Reinserted
		st.Reaped -= at.Reaped
		st.LateLookups -= at.LateLookups
		st.FlushedLookups -= at.FlushedLookups
	}
	return st
}

// sizeClasses returns the store's classes as clients see them: class n is at index n-1.
func (c *Cache) sizeClasses() []store.Class {
	all := c.store.Classes()
	last := &all[merged-1]
	for i := range merged - 1 {
		k := &all[i]
		last.Items += k.Items
		last.Bytes += k.Bytes
		last.EvictedIdle = max(last.EvictedIdle, k.EvictedIdle)
		last.Add(1, &k.Counts)
	}
	return all[merged-1:]
}

// eachClass goes through the size classes that ever had an item, by their numbers, with what has happened to each since the last reset.
func (c *Cache) eachClass(fn func(n int, k *store.Class)) {
	before := c.classes.Load()
	for i, k := range c.sizeClasses() {
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
		s.OpenConns += st.OpenConns
		s.Opened += st.Opened
		s.Refused += st.Refused
		s.Pauses += st.Pauses
		s.FailedHandshakes += st.FailedHandshakes
		loops += len(st.Loops)
	}
	return s, loops
}
