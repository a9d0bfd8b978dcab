package memcache_test

import (
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// TestAChangeOfTheMemoryLimitDelaysNoOtherClient: meanwhile each loop serves the others, and only the client that has requested the change waits.
func TestAChangeOfTheMemoryLimitDelaysNoOtherClient(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	others := []*client{r.connect(t), r.connect(t), r.connect(t), r.connect(t)} // some on the same loop
	e := r.Store().Lock([]byte("key"))                                          // blocks the change in this shard
	c.send("cache_memlimit 32", "version")
	for range 20 {
		for _, o := range others {
			o.ask("version", "VERSION "+memcache.Version)
		}
	}
	e.Unlock()
	c.expect("OK", "VERSION "+memcache.Version)
	if got := c.stats("")["limit_maxbytes"]; got != "33554432" {
		t.Errorf("limit_maxbytes is %s", got)
	}
}

// TestNoAgeIsNegative, although an item may have been used in a second that the loop has not reached.
func TestNoAgeIsNegative(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	r.clock.add(5)
	c.ask("set k 0 100 1|x|mg k l", "STORED|HD l0")
	r.clock.add(-3)
	c.ask("mg k l", "HD l0")
	c.send("me k")
	line, err := c.r.ReadString('\n')
	testkit.Must(t, err)
	if want := "ME k exp=-103 la=0 cas=1 fetch=yes cls=1 size=64\r\n"; line != want {
		t.Errorf("%q, want %q", line, want)
	}
	r.clock.add(4)
	c.ask("mg k l", "HD l1")
}
