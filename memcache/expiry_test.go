package memcache_test

import (
	"fmt"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/memcache"
)

// TestExptimesAreRelativeForThirtyDaysAndThenDates, and negative ones have always passed.
func TestExptimesAreRelativeForThirtyDaysAndThenDates(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	const month = 60 * 60 * 24 * 30
	for _, e := range []struct {
		exptime, lives int64 // seconds; -1: for good
	}{
		{0, -1}, {-1, 0}, {-2147483648, 0}, {1, 1}, {10, 10}, {month, month}, {month + 1, 0},
		{r.clock.Unix() - 1, 0}, {2147483647, 2147483647 - r.clock.Unix()},
	} {
		began := r.clock.Unix()
		c.ask(fmt.Sprintf("set k 0 %d 1|x", e.exptime), "STORED")
		switch e.lives {
		case 0:
			c.ask("get k", "END")
			continue
		case -1:
			r.clock.add(100 * month)
			c.ask("get k", "VALUE k 0 1|x|END")
			r.clock.now.Store(began) // the store's time does not go back, so:
			r.clock.now.Store(began + 100*month)
			continue
		}
		if e.exptime == 2147483647 {
			e.lives = 2147483647 - began
		}
		r.clock.add(e.lives - 1)
		c.ask("get k", "VALUE k 0 1|x|END")
		r.clock.add(1)
		c.ask("get k", "END")
		c.ask("add k 0 0 1|y", "STORED")
		r.clock.now.Store(began + e.lives)
	}
}

// TestTouchesChangeTheExpiryTime: touch, gat and mg T do, also to a time that has passed.
func TestTouchesChangeTheExpiryTime(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	c.ask("set k 0 10 1|x", "STORED")
	c.ask("touch k 20", "TOUCHED")
	r.clock.add(19)
	c.ask("gat 5 k", "VALUE k 0 1|x|END")
	r.clock.add(4)
	c.ask("mg k v T100 t", "VA 1 t100|x")
	r.clock.add(99)
	c.ask("mg k t", "HD t1")
	c.ask("gat -1 k", "VALUE k 0 1|x|END")
	c.ask("get k", "END")
	c.ask("set k 0 0 1|x", "STORED")
	c.ask("mg k v T-1", "VA 1|x")
	c.ask("mg k v", "EN")
	c.ask("ma k N0 J1 T-1 v", "VA 1|1")
	c.ask("mg k v", "EN")
}

// TestADelayedFlushRemovesItemsStoredUntilItsTime, and no items stored later.
func TestADelayedFlushRemovesItemsStoredUntilItsTime(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	c.ask("set a 0 0 1|x", "STORED")
	c.ask("flush_all 10", "OK")
	c.ask("get a", "VALUE a 0 1|x|END")
	r.clock.add(5)
	c.ask("set b 0 0 1|x", "STORED")
	r.clock.add(3)
	c.ask("get b", "VALUE b 0 1|x|END")
	r.clock.add(1) // the second before
	c.ask("get a b", "END")
	c.ask("set b 0 0 1|x", "STORED")
	c.ask("get b", "END")
	r.clock.add(1)
	c.ask("set c 0 0 1|x", "STORED")
	c.ask("get a b c", "VALUE c 0 1|x|END")
	c.ask("flush_all 1|get c|set c 0 0 1|x|get c", "OK|END|STORED|END") // at once, and for this second
	c.ask("flush_all|set c 0 0 1|x|get c", "OK|STORED|VALUE c 0 1|x|END")
	c.ask("flush_all 100|flush_all 2592001", "OK|OK") // the second one replaces the first, and is long ago
	r.clock.add(200)
	c.ask("get c", "VALUE c 0 1|x|END")
}

// TestEveryCommandThatCreatesIsAnsweredInTheSecondOfAFlush, and the item that it creates is not found.
func TestEveryCommandThatCreatesIsAnsweredInTheSecondOfAFlush(t *testing.T) {
	for name, flush := range map[string]func(r *running, c *client){
		"in one second": func(_ *running, c *client) { c.ask("flush_all 1", "OK") },
		"at a date":     func(r *running, c *client) { c.ask(fmt.Sprint("flush_all ", r.clock.Unix()+1), "OK") },
		"later": func(r *running, c *client) {
			c.ask("flush_all 5", "OK")
			r.clock.add(4)
		},
	} {
		for request, answer := range map[string]string{
			"set k 0 0 1|1": "STORED", "add k 0 0 1|1": "STORED", "ms k 1|1": "HD", "ms k 1 ME|1": "HD", "mg k N30 v t": "VA 0 t30 W|",
			"ma k N0": "HD", "ma k N30 J5 v t": "VA 1 t30|5", "ma k N0 q": "HD",
		} {
			r := start(t, memcache.Config{})
			c := r.connect(t)
			flush(r, c)
			for range 2 {
				c.ask(request, answer)
				c.ask("get k|incr k 1|touch k 0|delete k|append k 0 0 1|1|mg k|md k|replace k 0 0 1|1",
					"END|NOT_FOUND|NOT_FOUND|NOT_FOUND|NOT_STORED|EN|NF|NOT_STORED")
			}
			b := r.connect(t)
			b.frame(protocol.BinIncrement, 0, oneAndTen, "n", "")
			b.wants(`0x5 status 0x0 extras  key "" value "\x00\x00\x00\x00\x00\x00\x00\n"`)
			b.frame(protocol.BinGet, 0, "", "n", "")
			b.wants(`0x0 status 0x1 extras  key "" value "Not found"`)
			c.ask(request, answer)
			r.clock.add(1)
			c.ask("get k n", "END")
			c.ask("set k 0 0 1|1|get k", "STORED|VALUE k 0 1|1|END")
			if t.Failed() {
				t.Fatalf("%s: %s", name, request)
			}
		}
	}
}

// TestAFlushAtADateThatHasPassedTakesEffectAtOnce. A date before the start of the cache only cancels an earlier flush.
func TestAFlushAtADateThatHasPassedTakesEffectAtOnce(t *testing.T) {
	for _, noCAS := range []bool{false, true} {
		r := start(t, memcache.Config{NoCAS: noCAS})
		c := r.connect(t)
		r.clock.add(1000)
		for _, ago := range []int64{0, 1, 900, 1060} {
			c.ask("set k 0 0 1|x|flush_all 100", "STORED|OK")
			c.ask(fmt.Sprintf("flush_all %d|get k|set k 0 0 1|y|get k", r.clock.Unix()-ago), "OK|END|STORED|VALUE k 0 1|y|END")
		}
		c.ask(fmt.Sprintf("flush_all 100|flush_all %d|get k", r.clock.Unix()-1061), "OK|OK|VALUE k 0 1|y|END")
		r.clock.add(200)
		c.ask("get k", "VALUE k 0 1|y|END")
	}
}

// TestWithoutUniqueNumbersADelayedFlushComesASecondLater, as memcached's with -C does.
func TestWithoutUniqueNumbersADelayedFlushComesASecondLater(t *testing.T) {
	r := start(t, memcache.Config{NoCAS: true})
	c := r.connect(t)
	c.ask("set k 0 0 1|x|flush_all 1|get k", "STORED|OK|VALUE k 0 1|x|END")
	r.clock.add(1)
	c.ask("get k|ma k N0 v|get k", "END|VA 1|0|END")
	r.clock.add(1)
	c.ask("set k 0 0 1|x|get k|flush_all|get k|set k 0 0 1|x|get k", "STORED|VALUE k 0 1|x|END|OK|END|STORED|VALUE k 0 1|x|END")
}

// TestTheFirstClientThatGetsAStaleItemWins, and the other clients are informed.
func TestTheFirstClientThatGetsAStaleItemWins(t *testing.T) {
	r := start(t, memcache.Config{})
	c, other := r.connect(t), r.connect(t)
	c.ask("mg k N30 s v t", "VA 0 s0 t30 W|")
	other.ask("mg k N30 s v t", "VA 0 s0 t30 Z|")
	c.ask("ms k 3 T90|abc", "HD")
	other.ask("mg k v R30", "VA 3|abc")
	r.clock.add(61)
	other.ask("mg k v t R30", "VA 3 t29 W|abc")
	c.ask("mg k v t R30", "VA 3 t29 Z|abc")
	c.ask("ms k 3 T90|def", "HD")
	c.ask("mg k c", "HD c3")
	c.ask("md k I T30", "HD")
	other.ask("mg k v t c", "VA 3 t30 c4 X W|def")
	c.ask("mg k v", "VA 3 Z X|def")
	c.ask("ms k 3 C3 I|old", "HD")
	c.ask("mg k v t", "VA 3 t30 Z X|old")
	c.ask("ms k 3 C4|new", "EX")
	c.ask("ms k 3 C5 T0|new", "HD")
	c.ask("mg k v t", "VA 3 t-1|new")
}
