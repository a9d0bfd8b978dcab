//go:build !race

package store_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/evmq/evmq/memcache/store"
)

// resident is how many bytes of memory the process has.
func resident(t *testing.T) int {
	t.Helper()
	p, err := os.ReadFile("/proc/self/statm")
	must(t, err)
	var size, pages int
	_, err = fmt.Sscan(string(p), &size, &pages)
	must(t, err)
	return pages * os.Getpagesize()
}

// collectUntil has the collector run until something holds.
func collectUntil(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		runtime.GC()
		if time.Now().After(end) {
			t.Fatal("after 20 s: not " + what)
		}
	}
}

// TestAStoreThatIsGoneGivesItsMemoryBack, but not what a lease or a value that is being received still has.
func TestAStoreThatIsGoneGivesItsMemoryBack(t *testing.T) {
	before := resident(t)
	const memory = 64 << 20
	use := func() (*store.Lease, *store.Incoming) {
		s, _ := open(t, store.Config{Memory: memory, Shards: 1})
		for i := range memory / 100_000 {
			must(t, put(s, fmt.Sprint(i), store.Meta{}, make([]byte, 100_000)))
		}
		if n := resident(t) - before; n < memory*9/10 {
			t.Fatalf("a full store has %d bytes", n)
		}
		v := s.Receive([]byte("key"), 50_000)
		must(t, v.Grow(50_000))
		return borrow(t, s, "lent", 50_000), v
	}
	l, v := use()
	for range 5 {
		runtime.GC()
	}
	if got := l.Parts()[0]; !bytes.HasPrefix(got, []byte("lent")) {
		t.Errorf("what is lent begins with %q", got[:4])
	}
	v.Append(make([]byte, 50_000))
	v.Free()
	giveBack(l)
	l, v = nil, nil
	collectUntil(t, "given back", func() bool { return resident(t)-before < memory/4 })
	runtime.KeepAlive(l)
	runtime.KeepAlive(v)
}

// TestAStoreThatShrinksGivesMemoryBack at once, and uses it again when it grows.
func TestAStoreThatShrinksGivesMemoryBack(t *testing.T) {
	before := resident(t)
	s, _ := open(t, store.Config{Memory: 64 << 20, Shards: 2})
	for _, limit := range []int64{64 << 20, 8 << 20, 64 << 20, 16 << 20} {
		must(t, s.SetMemory(limit))
		check(t, s)
		if n := int64(resident(t) - before); n > limit+32<<20 {
			t.Errorf("%d bytes are resident, the limit is %d", n, limit)
		}
		for i := range 3000 {
			must(t, put(s, fmt.Sprint(i), store.Meta{}, make([]byte, 100+i%2*50_000)))
		}
		check(t, s)
	}
}
