package memcache_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// TestAFullCacheEvictsOrRefuses, as configured. Expired items are removed in both cases.
func TestAFullCacheEvictsOrRefuses(t *testing.T) {
	const memory = 8 << 20
	value := strings.Repeat("v", 2000)
	for _, noEvict := range []bool{false, true} {
		r := start(t, memcache.Config{Memory: memory, NoEvict: noEvict})
		c := r.connect(t)
		refused := 0
		for i := range 2 * memory / len(value) {
			c.send(fmt.Sprintf("set k%d 0 100 %d", i, len(value)), value)
			switch line, err := c.r.ReadString('\n'); {
			case err != nil:
				t.Fatal(err)
			case line == "SERVER_ERROR out of memory storing object\r\n":
				refused++
			case line != "STORED\r\n":
				t.Fatalf("%q", line)
			}
		}
		st := r.Store().Stats()
		if noEvict != (refused > 0) || noEvict != (st.Evicted == 0) || st.Memory > memory || st.Bytes < memory/2 {
			t.Errorf("no eviction %v: %d were refused, %+v", noEvict, refused, st)
		}
		if !noEvict {
			c.ask("get k0", "END")
			continue
		}
		// A set that is refused removes the old value, which is out of date.
		c.ask("get k0", "VALUE k0 0 2000|"+value+"|END")
		c.ask("set k0 0 0 500000|"+strings.Repeat("w", 500_000), "SERVER_ERROR out of memory storing object")
		c.ask("get k0", "END")
		b := r.connect(t)
		b.frame(protocol.BinSet, 0, flags7, "new", strings.Repeat("w", 500_000))
		b.wants(`0x1 status 0x82 extras  key "" value "Out of memory"`)
		if n := c.stats("")["store_no_memory"]; n == "0" {
			t.Error("nothing was counted")
		}
		r.clock.add(100)
		c.ask("set k1 0 0 2000|"+value, "STORED")
	}
}

// TestARestartedCacheIsEmpty, and its clients connect to the same address.
func TestARestartedCacheIsEmpty(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	c.ask("set k 0 0 1|x|gets k", "STORED|VALUE k 0 1 1|x|END")
	addr := r.addr
	testkit.Must(t, r.srv.Close())
	c.closed()
	r = start(t, memcache.Config{})
	testkit.Must(t, r.listen(addr))
	c = r.connect(t)
	c.ask("get k|set k 0 0 1|y", "END|STORED")
	c.ask("gets k", "VALUE k 0 1 1|y|END")
}
