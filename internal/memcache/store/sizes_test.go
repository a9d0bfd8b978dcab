package store_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// uniform and logUniform give each key a size between low and high, by the key alone: with all sizes equally frequent, or with as many from
// 10 to 20 as from 10000 to 20000.
func uniform(low, high int) func(key uint64) int {
	return func(key uint64) int { return low + int(fraction(key)*float64(high-low+1)) }
}

func logUniform(low, high int) func(key uint64) int {
	return func(key uint64) int { return int(float64(low) * math.Pow(float64(high)/float64(low), fraction(key))) }
}

func fraction(key uint64) float64 { return float64(mix(key^0x5555)>>11) / (1 << 53) }

// wins checks that the store answers at least as many requests of the trace as memcached's queues, and logs the share of an LRU. It returns the
// shares of the store and of the LRU.
func wins(t *testing.T, memory int, tr trace) (ours, plain shares) {
	t.Helper()
	cache := newEvmq(t, memory)
	ours = hits(cache, tr, 0)
	theirs := hits(newSegmented(memory), tr, memcachedHead)
	plain = hits(newLRU(memory), tr, memcachedHead)
	t.Logf("%-28s store %v, segmented %v, LRU %v", tr.name, ours, theirs, plain)
	if ours.requests < theirs.requests {
		t.Errorf("%s: the store answers %v, memcached %v", tr.name, ours, theirs)
	}
	check(t, cache.s)
	return ours, plain
}

// For each range of sizes of values, the store answers at least as many requests as memcached, and as an LRU without
// overhead. The memory holds a part of the values in each case.
func TestHitRatioIsAtLeastMemcachedForEachRangeOfSizes(t *testing.T) {
	skipIfRaced(t)
	for i, c := range []struct{ low, high, megabytes, requests int }{
		{10, 2000, 8, 200000}, {1000, 1000, 8, 200000}, {100, 20000, 16, 200000}, {100, 20000, 32, 100000}, {10, 50000, 64, 100000},
		{10, 500000, 64, 30000},
	} {
		for j, size := range []func(uint64) int{uniform(c.low, c.high), logUniform(c.low, c.high)} {
			if i%2 != j && !testkit.Full() {
				continue // one distribution for each range
			}
			name := []string{"uniform", "log"}[j]
			tr := trace{name: fmt.Sprintf("%d-%d B %s", c.low, c.high, name), size: size, each: zipfian(50000, c.requests, 1.01)}
			if ours, plain := wins(t, c.megabytes<<20, tr); ours.requests < plain.requests {
				t.Errorf("%s: the store answers %v, an LRU %v", tr.name, ours, plain)
			}
		}
	}
}

// The same holds for traces with scans, with changing popularity, and with loops, for values from 10 bytes to 500 KB.
func TestHitRatioIsAtLeastMemcachedForWideSizesThatMove(t *testing.T) {
	skipIfRaced(t)
	keys, requests := 50000, requestsOf(80000)
	for _, tr := range traces(keys, requests)[3:] {
		tr.size = logUniform(10, 500000)
		if ours, plain := wins(t, 64<<20, tr); ours.requests < plain.requests {
			t.Errorf("%s: the store answers %v, an LRU %v", tr.name, ours, plain)
		}
	}
	loop := func(name string, size func(uint64) int, n int) {
		tr := trace{name: name, size: size, each: func(request func(uint64)) {
			for i := range requests {
				request(uint64(i % n))
			}
		}}
		wins(t, 64<<20, tr)
	}
	loop("loop, 10-500000 B", logUniform(10, 500000), 5000)
	loop("loop, mixed sizes", func(key uint64) int { return 10 * sizeOf(key) }, 15000)
}

// gaveWay runs a trace that fills the memory with small items and uses them, and then requests larger ones, share times of ten, and otherwise a few of
// the small ones. It is for 16 MB, or without EVMQ_FULL a half of it for 8 MB.
func gaveWay(name string, low, high, larger, requests, share int) trace {
	small, before, used := uint64(requestsOf(200000)), requestsOf(400000), requestsOf(5000)
	larger, requests = requestsOf(larger), requestsOf(requests)
	return trace{name: name, start: before,
		size: func(key uint64) int {
			if key < small {
				return uniform(10, 200)(key)
			}
			return logUniform(low, high)(key)
		},
		each: func(request func(uint64)) {
			first, then, rest := newZipf(int(small), 0.8, 9), newZipf(larger, 0.8, 9), newZipf(used, 0.8, 9)
			for range before {
				request(first.next())
			}
			for i := range requests {
				if i%10 < share {
					request(small + then.next())
				} else {
					request(small - 1 - rest.next())
				}
			}
		}}
}

// Small items that are no longer used are evicted for larger ones, however many they are, unless enough of them are used.
func TestUnusedSmallItemsAreEvictedForLargeOnes(t *testing.T) {
	skipIfRaced(t)
	traces := []trace{
		gaveWay("then up to 100 KB", 20000, 100000, 1000, 20000, 10),
		gaveWay("then 100 KB beside small ones", 20000, 100000, 1000, 20000, 5),
	}
	if testkit.Full() {
		traces = append(traces, gaveWay("then up to 20 KB", 5000, 20000, 5000, 40000, 10), gaveWay("then up to 2 KB", 500, 2000, 50000, 150000, 10))
	}
	for _, tr := range traces {
		if ours, plain := wins(t, requestsOf(16<<20), tr); ours.requests < plain.requests*0.9 {
			t.Errorf("%s: the store answers %v, an LRU %v", tr.name, ours, plain)
		}
	}
}

// Large items that are read once each do not displace small ones that have not been used for a while.
func TestAScanOfLargeItemsKeepsSmallOnes(t *testing.T) {
	skipIfRaced(t)
	cache := newEvmq(t, 64<<20)
	const small = 100000 // 17 MB
	zipf := newZipf(small, 0.8, 1)
	for range 3 * small {
		cache.request(zipf.next(), 100)
	}
	before := cache.s.Stats()
	for i := range 2000 { // 400 MB
		cache.request(uint64(small+i), 200000)
	}
	after := cache.s.Stats()
	if lost := before.Items - (after.Items - after.Large/200000); after.Evicted < 1500 || lost > before.Items/100 {
		t.Errorf("of %d small items, %d are gone after %d evictions", before.Items, lost, after.Evicted)
	}
}

// requestsOf is the size of a test, such as the number of requests of a trace: n with EVMQ_FULL, and half of it without.
func requestsOf(n int) int {
	if testkit.Full() {
		return n
	}
	return n / 2
}
