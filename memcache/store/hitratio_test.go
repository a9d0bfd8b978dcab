package store_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/evmq/evmq/memcache/store"
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

// shares is what a policy has answered: of the requests, and of the bytes of their values.
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

// What memcached adds to a value: its head of 48 bytes, the number for cas, and the key of 10 bytes with its zero, a line's end.
const memcachedHead = 48 + 8 + 11 + 2

// On skewed traces of mixed sizes the store answers at least as many requests as memcached's queues would. So it does beside an LRU
// that wastes nothing, but for where what is popular keeps changing, which is what an LRU is best at.
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

// TestHitRatioTable prints the table of larger traces. It runs if STORE_HITS is set; if that is the address of a memcached with 64 MB,
// flushed before each trace, it is asked, too.
func TestHitRatioTable(t *testing.T) {
	address := os.Getenv("STORE_HITS")
	if address == "" {
		t.Skip("STORE_HITS is not set")
	}
	const memory = 64 << 20
	for _, tr := range traces(1000000, 1000000) {
		line := fmt.Sprintf("%-20s store %v; segmented %v; LRU %v", tr.name, hits(newEvmq(t, memory), tr, 0),
			hits(newSegmented(memory), tr, memcachedHead), hits(newLRU(memory), tr, memcachedHead))
		if _, _, err := net.SplitHostPort(address); err == nil {
			p := dialMemcached(t, address)
			line += fmt.Sprintf("; memcached %v", hits(p, tr, 0))
			p.c.Close()
		}
		t.Log(line)
	}
}
