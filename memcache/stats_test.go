package memcache_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// stats sends the stats command and returns the lines of the answer.
func (c *client) stats(what string) map[string]string {
	c.t.Helper()
	c.send(strings.TrimSpace("stats " + what))
	lines := map[string]string{}
	for {
		line, err := c.r.ReadString('\n')
		testkit.Must(c.t, err)
		line = strings.TrimSpace(line)
		if line == "END" {
			return lines
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "STAT "), " ")
		if !ok && what != "settings" {
			c.t.Fatalf("the line is %q", line)
		}
		lines[name] = value
	}
}

// TestStatsCountCommands of both protocols since the last reset.
func TestStatsCountCommands(t *testing.T) {
	r := start(t, memcache.Config{})
	c, other := r.connect(t), r.connect(t)
	c.ask("set a 0 0 1|x|set b 0 0 1|x|get a b z|delete a|delete z|set n 0 0 1|1|incr n 1|decr z 1|cas n 0 0 1 1|x|touch n 0|mg n",
		"STORED|STORED|VALUE a 0 1|x|VALUE b 0 1|x|END|DELETED|NOT_FOUND|STORED|2|NOT_FOUND|EXISTS|TOUCHED|HD")
	other.ask("flush_all|get b", "OK|END")
	c.ask("set e 0 5 1|x", "STORED")
	r.clock.add(5)
	c.ask("get e", "END")
	want := map[string]string{
		"get_expired": "1", "get_flushed": "1", "accepting_conns": "1",
		"cmd_get": "6", "cmd_set": "5", "get_hits": "3", "get_misses": "3", "delete_hits": "1", "delete_misses": "1", "incr_hits": "1",
		"decr_misses": "1", "cas_badval": "1", "touch_hits": "1", "cmd_touch": "1", "cmd_flush": "1", "cmd_meta": "0", "curr_connections": "2",
		"total_connections": "2", "curr_items": "0", "total_items": "4", "threads": "2", "version": memcache.Version,
		"limit_maxbytes": fmt.Sprint(memcache.DefaultMemory), "pointer_size": fmt.Sprint(32 << (^uint(0) >> 63)),
	}
	got := c.stats("")
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	b := r.connect(t)
	b.frame(protocol.BinStat, 0, "", "", "")
	lines := map[string]string{}
	for {
		shown, _ := b.reply()
		var key, value string
		_, err := fmt.Sscanf(shown, "0x10 status 0x0 extras  key %q value %q", &key, &value)
		testkit.Must(t, err)
		if key == "" {
			break
		}
		lines[key] = value
	}
	if lines["get_hits"] != "3" || len(lines) != len(got) {
		t.Errorf("binary: %d lines, %v", len(lines), lines)
	}
	slab := map[string]string{"get_hits": "3", "cmd_set": "5", "delete_hits": "1", "incr_hits": "1", "decr_hits": "0", "cas_hits": "0", "cas_badval": "1", "touch_hits": "1"}
	got = c.stats("slabs")
	for name, value := range slab {
		if got["1:"+name] != value {
			t.Errorf("slabs: %s is %q, want %q", name, got["1:"+name], value)
		}
	}
	c.ask("stats reset", "RESET")
	if got = c.stats(""); got["get_hits"] != "0" || got["cmd_set"] != "0" || got["total_items"] != "0" {
		t.Errorf("after reset: %v", got)
	}
	if got = c.stats("slabs"); got["1:get_hits"] != "0" || got["1:cmd_set"] != "0" {
		t.Errorf("slabs after reset: %v", got)
	}
}

// TestEachCommandThatFindsAnExpiredOrFlushedItemCountsItOnce. Each value stored counts in total_items, also an expired one. Items that no command finds
// are reclaimed. The numbers are those of memcached 1.6.18.
func TestEachCommandThatFindsAnExpiredOrFlushedItemCountsItOnce(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	last := c.stats("")
	delta := func(command, answer, want string) {
		t.Helper()
		c.ask(command, answer)
		now := c.stats("")
		got := changedCounts(t, last, now)
		if last = now; got != want {
			t.Errorf("%q counts %q, want %q", command, got, want)
		}
	}
	for command, e := range map[string]struct{ answer, counts string }{
		"get k":             {"END", "get_misses +1"},
		"mg k N30":          {"HD W", "total_items +1"},
		"me k":              {"EN", ""},
		"incr k 1":          {"NOT_FOUND", "incr_misses +1"},
		"ma k N0":           {"HD", "total_items +1"},
		"touch k 0":         {"NOT_FOUND", "touch_misses +1"},
		"mg k T30":          {"EN", "get_misses +1"},
		"delete k":          {"NOT_FOUND", ""},
		"add k 0 0 1|1":     {"STORED", "total_items +1"},
		"set k 0 0 1|1":     {"STORED", "total_items +1"},
		"append k 0 0 1|1":  {"NOT_STORED", ""},
		"cas k 0 0 1 999|1": {"NOT_FOUND", ""},
		"set k 0 -1 1|1":    {"STORED", "total_items +1"},
		"ma k N-1 J3":       {"HD", "total_items +1"},
	} {
		stays := strings.Contains(e.counts, "total_items")
		for _, way := range []struct{ prepare, answer, met, left string }{
			{"set k 0 -1 1|1", "STORED", "get_expired +1", "curr_items -1"},
			{"set k 0 0 1|1|touch k -1", "STORED|TOUCHED", "get_expired +1", "curr_items -1"},
			{"set k 0 0 1|1|flush_all", "STORED|OK", "get_flushed +1", ""},
			{"flush_all 1|set k 0 0 1|1", "OK|STORED", "get_flushed +1", "curr_items -1"},
		} {
			c.ask("flush_all|"+way.prepare, "OK|"+way.answer)
			last = c.stats("")
			left := way.left
			if stays && left == "" {
				left = "curr_items +1"
			} else if stays {
				left = ""
			}
			want := []string{way.met, e.counts, left}
			delta(command, e.answer, strings.Join(slices.DeleteFunc(want, func(s string) bool { return s == "" }), ", "))
			r.clock.add(1)
			r.Store().Reap(100)
			c.ask("flush_all", "OK")
			r.clock.add(1)
			r.Store().Reap(100)
			last = c.stats("")
		}
	}
	c.ask("set a 0 0 1|1|set b 0 -1 1|1|flush_all", "STORED|STORED|OK")
	last = c.stats("")
	r.clock.add(1)
	r.Store().Reap(100)
	delta("get a b", "END", "get_misses +2, reclaimed +2")
}

// changedCounts returns which counts of items differ between two statistics, and by how much.
func changedCounts(t *testing.T, before, after map[string]string) string {
	t.Helper()
	var all []string
	for _, name := range []string{"get_expired", "get_flushed", "total_items", "incr_misses", "get_misses", "touch_misses", "reclaimed", "curr_items"} {
		if after[name] != before[name] {
			var a, b int
			_, err := fmt.Sscan(before[name]+" "+after[name], &a, &b)
			testkit.Must(t, err)
			all = append(all, fmt.Sprintf("%s %+d", name, b-a))
		}
	}
	return strings.Join(all, ", ")
}

// TestStatsHaveGroups: items, slabs, sizes, settings.
func TestStatsHaveGroups(t *testing.T) {
	r := start(t, memcache.Config{PerTurn: 9, NoFlush: true, Settings: []memcache.Setting{{"maxconns", "1000"}, {"tcpport", "11211"}}})
	c := r.connect(t)
	c.ask("set a 0 0 1|x|flush_all", "STORED|CLIENT_ERROR flush_all not allowed")
	r.clock.add(5)
	if got := c.stats("items"); got["items:1:number"] != "1" || got["items:1:age"] != "5" {
		t.Errorf("items: %v", got)
	}
	if got := c.stats("slabs"); got["1:used_chunks"] != "1" || got["active_slabs"] != "1" || got["total_malloced"] == "0" {
		t.Errorf("slabs: %v", got)
	}
	c.ask("stats sizes|stats sizes_enable", "STAT sizes_status disabled|END|STAT sizes_status enabled")
	if got := c.stats("sizes"); len(got) != 1 || got["64"] != "1" {
		t.Errorf("sizes: %v", got)
	}
	c.ask("stats sizes_disable|stats sizes", "STAT sizes_status disabled|STAT sizes_status disabled|END")
	if got := c.stats("settings"); got["maxconns"] != "1000" || got["reqs_per_event"] != "9" || got["flush_enabled"] != "no" || got["evictions"] != "on" {
		t.Errorf("settings: %v", got)
	}
	if got := c.stats(""); got["max_connections"] != "1000" {
		t.Errorf("max_connections is %q", got["max_connections"])
	}
	c.send("stats detail")
	c.expect("CLIENT_ERROR usage: stats detail on|off|dump")
	c.ask("stats detail on|get a:1|set a:1 0 0 1|x|get a:1|delete b:1|get nocolon|stats detail dump",
		"OK|END|STORED|VALUE a:1 0 1|x|END|NOT_FOUND|END|PREFIX a get 2 hit 1 set 1 del 0|PREFIX b get 0 hit 0 set 0 del 1|END")
	c.ask("stats detail off|get a:1|stats detail dump", "OK|VALUE a:1 0 1|x|END|PREFIX a get 2 hit 1 set 1 del 0|PREFIX b get 0 hit 0 set 0 del 1|END")
}

// TestPrefixesAreCountedWhileTheyAreListed: each request is counted, and none waits for a list.
func TestPrefixesAreCountedWhileTheyAreListed(t *testing.T) {
	r := start(t, memcache.Config{})
	asks, lists := r.connect(t), r.connect(t)
	asks.ask("stats detail on", "OK")
	const prefixes, rounds = 2000, 5
	var b strings.Builder
	for i := range prefixes {
		fmt.Fprintf(&b, "get p%d:x\r\n", i)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range rounds {
			asks.ask(b.String()+"version", strings.Repeat("END|", prefixes)+"VERSION "+memcache.Version)
		}
	}()
	for listing := true; listing; {
		select {
		case <-done:
			listing = false // and once more
		default:
		}
		lists.send("stats detail dump")
		lines := 0
		for ; ; lines++ {
			line, err := lists.r.ReadString('\n')
			testkit.Must(t, err)
			if line == "END\r\n" {
				break
			}
			if !listing && !strings.Contains(line, fmt.Sprintf(" get %d hit 0 set 0 del 0\r\n", rounds)) {
				t.Errorf("the line is %q", line)
			}
		}
		if !listing && lines != prefixes {
			t.Errorf("%d prefixes are listed, not %d", lines, prefixes)
		}
	}
}

// TestAllKeysAreListed, also to a client that reads slowly. Its next requests are answered after the list.
func TestAllKeysAreListed(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	const keys = 50_000
	var b strings.Builder
	for i := range keys {
		fmt.Fprintf(&b, "set key%%%d 0 0 1 noreply\r\nx\r\n", i)
	}
	c.send(b.String() + "version")
	c.expect("VERSION " + memcache.Version)
	c.send("lru_crawler metadump all", "version")
	seen := map[string]bool{}
	for {
		line, err := c.r.ReadString('\n')
		testkit.Must(t, err)
		if line == "END\r\n" {
			break
		}
		key, rest, _ := strings.Cut(strings.TrimPrefix(line, "key="), " ")
		if !strings.HasPrefix(rest, "exp=-1 la=1700000000 cas=") || !strings.HasPrefix(key, "key%25") {
			t.Fatalf("the line is %q", line)
		}
		seen[key] = true
	}
	if len(seen) != keys {
		t.Errorf("%d keys were listed, not %d", len(seen), keys)
	}
	c.expect("VERSION " + memcache.Version)
	gone := r.connect(t)
	gone.send("lru_crawler metadump all")
	testkit.Must(t, gone.Close())
	c = start(t, memcache.Config{NoDump: true}).connect(t)
	c.ask("lru_crawler metadump all", "ERROR metadump not allowed")
}

// TestShutdownMustBeAllowed by Config.Shutdown.
func TestShutdownMustBeAllowed(t *testing.T) {
	var gentle, sharp atomic.Int32
	r := start(t, memcache.Config{Shutdown: func(graceful bool) {
		if graceful {
			gentle.Add(1)
		} else {
			sharp.Add(1)
		}
	}})
	c := r.connect(t)
	c.ask("shutdown now", "CLIENT_ERROR invalid shutdown mode")
	c.send("shutdown graceful")
	c.closed()
	c = r.connect(t)
	c.send("shutdown")
	c.closed()
	if gentle.Load() != 1 || sharp.Load() != 1 {
		t.Errorf("%d and %d", gentle.Load(), sharp.Load())
	}
}
