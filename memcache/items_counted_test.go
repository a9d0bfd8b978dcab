package memcache_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/memcache"
)

// calls are methods of a cache beside the commands with the same meaning, in an order in which they find, miss and refuse.
var calls = []struct {
	call    func(c *memcache.Cache) error
	command string // lines, separated by |
}{
	{func(c *memcache.Cache) error { _, err := c.Get("k:1"); return err }, "get k:1"},
	{func(c *memcache.Cache) error { return c.Touch("k:1", time.Minute) }, "touch k:1 60"},
	{func(c *memcache.Cache) error { return c.Delete("k:1") }, "delete k:1"},
	{func(c *memcache.Cache) error { _, err := c.Increment("k:1", 1); return err }, "incr k:1 1"},
	{func(c *memcache.Cache) error { _, err := c.Decrement("k:1", 1); return err }, "decr k:1 1"},
	{func(c *memcache.Cache) error { return c.CompareAndSwap("k:1", memcache.Item{CAS: 1}) }, "cas k:1 0 0 0 1|"},
	{func(c *memcache.Cache) error { return c.Add("k:1", text("7")) }, "add k:1 0 0 1|7"},
	{func(c *memcache.Cache) error { return c.Add("k:1", text("7")) }, "add k:1 0 0 1|7"},
	{func(c *memcache.Cache) error { _, err := c.AppendGet(nil, "k:1"); return err }, "get k:1"},
	{func(c *memcache.Cache) error { return c.Touch("k:1", time.Minute) }, "touch k:1 60"},
	{func(c *memcache.Cache) error { _, err := c.Increment("k:1", 1); return err }, "incr k:1 1"},
	{func(c *memcache.Cache) error { _, err := c.Decrement("k:1", 9); return err }, "decr k:1 9"},
	{func(c *memcache.Cache) error { return c.CompareAndSwap("k:1", memcache.Item{CAS: 99}) }, "cas k:1 0 0 0 99|"},
	{func(c *memcache.Cache) error { return c.CompareAndSwap("k:1", memcache.Item{CAS: 3}) }, "cas k:1 0 0 0 3|"},
	{func(c *memcache.Cache) error { _, err := c.Increment("k:1", 1); return err }, "incr k:1 1"},
	{func(c *memcache.Cache) error { return c.Set("k:2", memcache.Item{TTL: -1}) }, "set k:2 0 -1 0|"},
	{func(c *memcache.Cache) error { _, err := c.Get("k:2"); return err }, "get k:2"},
	{func(c *memcache.Cache) error { return c.Set("k:2", text(strings.Repeat("v", 2000))) }, "set k:2 0 0 2000|" + strings.Repeat("v", 2000)},
	{func(c *memcache.Cache) error { return c.Delete("k:1") }, "delete k:1"},
	{func(c *memcache.Cache) error { return c.Set("k:3", memcache.Item{Flags: 5, TTL: time.Hour}) }, "set k:3 5 3600 0|"},
	{func(c *memcache.Cache) error { c.FlushAll(); return nil }, "flush_all"},
	{func(c *memcache.Cache) error { _, err := c.Get("k:3"); return err }, "get k:3"},
}

// TestCallsOfTheProgramAreCountedAsCommands compares the statistics after each call with those of another cache after the command of the same
// meaning.
func TestCallsOfTheProgramAreCountedAsCommands(t *testing.T) {
	conf := memcache.Config{MaxItem: 1024}
	r := start(t, conf)
	c := r.connect(t)
	c.ask("stats detail on", "OK")
	program := start(t, conf)
	program.connect(t).ask("stats detail on", "OK")
	for _, both := range calls {
		_ = both.call(program.Cache) // the errors are the subject of other tests
		c.send(strings.Split(both.command, "|")...)
		c.ask("version", "") // whose answer is the last
		c.lineWith("VERSION")
		for _, group := range []string{"", "items", "slabs", "sizes"} {
			got, want := program.Stats(group), r.Stats(group)
			for _, of := range []map[string]string{got, want} {
				maps.DeleteFunc(of, func(name, _ string) bool {
					return strings.HasPrefix(name, "rusage") || strings.HasPrefix(name, "bytes_") || strings.Contains(name, "conn") ||
						name == "total_malloced" // depends on the shards in which the keys are
				})
			}
			if group == "" && len(want) < 50 {
				t.Fatalf("there are %d statistics", len(want))
			}
			if !maps.Equal(got, want) {
				t.Fatalf("after %.30q: %s", both.command, differences(got, want))
			}
		}
	}
	for _, name := range []string{"get_hits", "get_misses", "delete_hits", "incr_misses", "cas_badval", "touch_hits", "store_too_large", "cmd_flush"} {
		if n := program.Stats("")[name]; n == "0" || n == "" {
			t.Errorf("%s is %q", name, n)
		}
	}
	c.send("stats detail dump")
	other := program.connect(t)
	other.send("stats detail dump")
	if want, got := c.lineWith("PREFIX"), other.lineWith("PREFIX"); got != want {
		t.Errorf("stats detail is %q, want %q", got, want)
	}
}

// differences lists the entries of two maps that are not the same.
func differences(got, want map[string]string) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			all = append(all, fmt.Sprintf("%s %s, want %s", name, got[name], want[name]))
		}
	}
	return all
}

// TestWatchersSeeCallsOfTheProgram as the commands of the same meaning, with a descriptor that no connection has.
func TestWatchersSeeCallsOfTheProgram(t *testing.T) {
	conf := memcache.Config{MaxItem: 1024}
	lines := func(run func(r *running, c *client)) []string {
		r := start(t, conf)
		watcher, c := r.connect(t), r.connect(t)
		watcher.watch("fetchers mutations")
		run(r, c)
		c.ask("get last", "END")
		var all []string
		for {
			line := watcher.lineWith("gid=")
			if strings.Contains(line, "key=last ") {
				return all
			}
			words := slices.DeleteFunc(strings.Fields(line), func(w string) bool { return strings.HasPrefix(w, "ts=") })
			all = append(all, strings.Join(words, " "))
		}
	}
	want := lines(func(_ *running, c *client) {
		for _, both := range calls {
			c.send(strings.Split(both.command, "|")...)
			c.send("version")
			c.lineWith("VERSION")
		}
	})
	got := lines(func(r *running, _ *client) {
		for _, both := range calls {
			_ = both.call(r.Cache)
		}
	})
	if len(want) < len(calls) {
		t.Fatalf("%d calls have %d lines", len(calls), len(want))
	}
	for i := range want {
		if i < len(got) && strings.Contains(got[i], " cfd=-1 ") {
			words := slices.DeleteFunc(strings.Fields(want[i]), func(w string) bool { return strings.HasPrefix(w, "cfd=") })
			if strings.Replace(got[i], "cfd=-1 ", "", 1) == strings.Join(words, " ") {
				continue
			}
		}
		t.Fatalf("line %d is %q, want %q", i, got[min(i, len(got)-1)], want[i])
	}
}
