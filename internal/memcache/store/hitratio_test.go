package store_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
)

// evmq is the store as a policy.
type evmq struct {
	s     *store.Store
	value []byte
}

func newEvmq(t testing.TB, memory int) *evmq {
	s, _ := open(t, store.Config{Memory: int64(memory)})
	return &evmq{s, make([]byte, 1<<20)}
}

func (p *evmq) request(key uint64, size int) bool {
	var k [10]byte
	binary.LittleEndian.PutUint64(k[:], key)
	e := p.s.Lock(k[:])
	defer e.Unlock()
	if e.Found() {
		e.Use()
		return true
	}
	if err := e.Put(store.Meta{}, p.value[:size]); err != nil {
		panic(err)
	}
	return false
}

// shares are the parts of the requests, and of the bytes of their values, that a policy has answered.
type shares struct{ requests, bytes float64 }

func (s shares) String() string { return fmt.Sprintf("%.4f (bytes %.4f)", s.requests, s.bytes) }

// hits is the share of a trace's requests that a policy answers. It does not count those before the trace's start.
func hits(p policy, tr trace, overhead int) shares {
	var requests, found, bytes, foundBytes float64
	seen := 0
	tr.each(func(key uint64) {
		size := tr.size(key)
		hit := p.request(key, size+overhead)
		if seen++; seen <= tr.start {
			return
		}
		requests++
		bytes += float64(size)
		if hit {
			found++
			foundBytes += float64(size)
		}
	})
	return shares{found / requests, foundBytes / bytes}
}

// The bytes that memcached adds to a value: its head of 48 bytes, the number for cas, and the key of 10 bytes with its zero, a line's end.
const memcachedHead = 48 + 8 + 11 + 2

// On skewed traces of mixed sizes the store answers at least as many requests as memcached's queues and as an LRU without overhead, except that an
// LRU may be better where the popular keys change all the time.
func TestHitRatioIsAtLeastMemcached(t *testing.T) {
	skipIfRaced(t)
	const memory = 6 << 20
	for _, tr := range traces(75000, 150000) {
		cache := newEvmq(t, memory)
		ours, theirs, plain := hits(cache, tr, 0), hits(newSegmented(memory), tr, memcachedHead), hits(newLRU(memory), tr, memcachedHead)
		st := cache.s.Stats()
		t.Logf("%-20s store %v, items fill %.3f; segmented %v; LRU %v", tr.name, ours, float64(st.Bytes)/memory, theirs, plain)
		if ours.requests < theirs.requests || ours.requests < plain.requests && !tr.moving {
			t.Errorf("%s: the store answers %v, memcached %v, LRU %v", tr.name, ours, theirs, plain)
		}
	}
}

// TestHitRatioTable prints the tables of decisions 5 and 9: larger traces, and wider ranges of sizes. It runs if STORE_HITS is set; if
// that is the address of a memcached with 64 MB, flushed before each trace, it is asked the traces of decision 5, too.
func TestHitRatioTable(t *testing.T) {
	address := os.Getenv("STORE_HITS")
	if address == "" {
		t.Skip("STORE_HITS is not set")
	}
	for _, tr := range traces(1000000, 1000000) {
		line := tableLine(t, tr, 64<<20)
		if _, _, err := net.SplitHostPort(address); err == nil {
			p := dialMemcached(t, address)
			line += fmt.Sprintf("; memcached %v", hits(p, tr, 0))
			p.c.Close()
		}
		t.Log(line)
	}
	for _, c := range []struct{ low, high, megabytes int }{
		{10, 2000, 32}, {1000, 1000, 32}, {100, 20000, 256}, {10, 50000, 256}, {10, 50000, 32}, {10, 500000, 256}, {10, 500000, 64},
	} {
		for name, size := range map[string]func(uint64) int{"uniform": uniform(c.low, c.high), "log": logUniform(c.low, c.high)} {
			tr := trace{name: fmt.Sprintf("%d-%d B %s, %d MB", c.low, c.high, name, c.megabytes), size: size, each: zipfian(200000, 1000000, 1.01)}
			t.Log(tableLine(t, tr, c.megabytes<<20))
		}
	}
}

func tableLine(t *testing.T, tr trace, memory int) string {
	const head = 56 + 10 + 4 // of the store's items: head, key and half of the rounding
	line := fmt.Sprintf("%-30s store %v", tr.name, hits(newEvmq(t, memory), tr, 0))
	for _, p := range []struct {
		name     string
		policy   policy
		overhead int
	}{
		{"segmented", newSegmented(memory), memcachedHead},
		{"LRU", newLRU(memory), memcachedHead},
		{"S3-FIFO", newCandidate(memory, 0, 10, 1), head},
		{"S3-FIFO by size", newCandidate(memory, 1, 10, 1), head},
		{"GDSF 0.75", newCandidate(memory, 0.75, 0, 3), head},
		{"GDSF 1", newCandidate(memory, 1, 0, 3), head},
	} {
		line += fmt.Sprintf("; %s %v", p.name, hits(p.policy, tr, p.overhead))
	}
	return line
}
