package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// The limit holds at any time, whatever is stored in whatever order.
func TestMemoryNeverExceedsTheLimit(t *testing.T) {
	skipIfRaced(t)
	for _, limit := range []int64{store.MinMemory, 3 << 20, 10<<20 + 12345} {
		s, _ := open(t, store.Config{Memory: limit, Shards: 1, MaxItem: 200000})
		random := rand.New(rand.NewPCG(uint64(limit), 1))
		sizes := []int{10, 100, 3000, store.LargeMin, 20000, 150000}
		size := 10
		for i := range 10000 {
			if i%500 == 0 {
				size = sizes[random.IntN(len(sizes))]
			}
			n := random.IntN(size) + 1
			testkit.Must(t, put(s, fmt.Sprint(random.IntN(10000)), store.Meta{Expires: int64(random.IntN(2)) * 1500}, make([]byte, n)))
			if st := s.Stats(); st.Memory > limit {
				t.Fatalf("%d bytes of memory, the limit is %d", st.Memory, limit)
			}
		}
		check(t, s)
	}
}

// Memory of items of one size can be used for items of any other size, as soon as those are used and the old ones are not.
func TestMemoryServesAnySize(t *testing.T) {
	skipIfRaced(t)
	const limit = 8 << 20 // of the largest items, 16 fit
	s, _ := open(t, store.Config{Memory: limit, Shards: 1})
	for _, size := range []int{20, 1000, 5000, store.LargeMin - 100, 50000, 500000, 10000, 300, 20} {
		n := 4 * limit / size
		if size < 100 {
			n = limit / 20
		}
		for i := range n {
			testkit.Must(t, put(s, fmt.Sprint(size, "-", i), store.Meta{}, make([]byte, size)))
			get(s, fmt.Sprint(size, "-", i))
		}
		check(t, s)
		st, live := s.Stats(), int64(0)
		for i := range n {
			e := s.Lock([]byte(fmt.Sprint(size, "-", i)))
			if e.Found() {
				live += int64(e.Size())
			}
			e.Unlock()
		}
		if share := float64(st.Bytes) / float64(limit); share < 0.9 && size < 8000 || share < 0.8 {
			t.Errorf("items of %d bytes fill %.2f of the memory", size, share)
		}
		if share := float64(live) / float64(st.Bytes); share < 0.75 {
			t.Errorf("of the items' bytes %.2f have the present size of %d bytes", share, size)
		}
	}
}

// A few small items that stay do not cost a large part of the memory, wherever they lie.
func TestSmallItemsDoNotScatterMemory(t *testing.T) {
	skipIfRaced(t)
	s, _ := open(t, store.Config{Memory: 8 << 20, Shards: 1})
	for i := range 60000 {
		testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{}, make([]byte, 40)))
		if i%25 == 0 {
			get(s, fmt.Sprint(i))
		}
	}
	for i := range 6000 {
		testkit.Must(t, put(s, fmt.Sprint("long", i), store.Meta{}, make([]byte, 3000)))
	}
	check(t, s)
	if share := float64(s.Stats().Bytes) / (8 << 20); share < 0.9 {
		t.Errorf("items fill %.3f of the memory", share)
	}
}

// Items in use stay when many others are stored once.
func TestAScanDoesNotDisplaceItemsInUse(t *testing.T) {
	skipIfRaced(t)
	s, _ := open(t, store.Config{Memory: 8 << 20, Shards: 2})
	const used = 20000 // about two megabytes
	name := func(i int) string { return fmt.Sprint("used", i) }
	for i := range used {
		testkit.Must(t, put(s, name(i), store.Meta{}, make([]byte, 40)))
		get(s, name(i))
	}
	for i := range 120000 {
		testkit.Must(t, put(s, fmt.Sprint("scan", i), store.Meta{}, make([]byte, 40)))
		get(s, name(i%used))
	}
	lost := 0
	for i := range used {
		if !has(s, name(i)) {
			lost++
		}
	}
	if lost > used/100 { // the first time that all of them are looked at, one in so many as an operation spares goes
		t.Errorf("%d of %d items that were in use are gone", lost, used)
	}
	if st := s.Stats(); st.Evicted < 50000 || st.EvictedUnfetched+int64(lost) != st.Evicted {
		t.Errorf("%d items were evicted, %d of them unfetched", st.Evicted, st.EvictedUnfetched)
	}
}

// An item that is stored again soon after it was evicted is kept longer than new ones. The record of an evicted item has 8 bits, so a few of the
// items are taken for stored again when they are new, which is not remembered.
func TestAnItemThatIsStoredAgainIsKept(t *testing.T) {
	skipIfRaced(t)
	const items, atLeast = 40, 34
	s, _ := open(t, store.Config{Memory: 4 << 20, Shards: 1})
	scanned := 0
	scan := func(n int) {
		for range n {
			scanned++
			testkit.Must(t, put(s, fmt.Sprint("scan", scanned), store.Meta{}, make([]byte, 40)))
		}
	}
	key := func(i int) string { return fmt.Sprint("back", i) }
	scan(60000) // the store is full
	again := map[int]bool{}
	for i := range items {
		testkit.Must(t, put(s, key(i), store.Meta{}, make([]byte, 40)))
	}
	for end := scanned + 60000; len(again) < items && scanned < end; {
		scan(1)
		for i := range items {
			if !again[i] && !has(s, key(i)) {
				again[i] = true
				testkit.Must(t, put(s, key(i), store.Meta{}, make([]byte, 40)))
			}
		}
	}
	scan(60000)
	kept := 0
	for i := range items {
		if again[i] && has(s, key(i)) {
			kept++
		}
	}
	if kept < atLeast {
		t.Errorf("%d of %d items that were stored again are found, want %d at least", kept, len(again), atLeast)
	}
}

// With NoEvict only expired items are removed.
func TestNoEvictRefuses(t *testing.T) {
	for _, size := range []int{40, 3000, 20000} {
		s, clock := open(t, store.Config{Memory: 2 << 20, Shards: 1, NoEvict: true})
		testkit.Must(t, put(s, "first", store.Meta{}, []byte("v")))
		stored := 0
		var err error
		for ; err == nil; stored++ {
			err = put(s, fmt.Sprint(stored), store.Meta{Expires: 1001}, make([]byte, size))
		}
		stored--
		if !errors.Is(err, store.ErrNoMemory) {
			t.Fatalf("a full store says %v", err)
		}
		st := s.Stats()
		if st.Refused != 1 || st.Evicted != 0 || st.Items != int64(stored)+1 || st.Bytes < 1800000 {
			t.Errorf("%+v", st)
		}
		testkit.Must(t, put(s, "0", store.Meta{}, []byte("over an old one")))
		clock.second.Store(1001)
		for i := range stored {
			testkit.Must(t, put(s, fmt.Sprint("new", i), store.Meta{}, make([]byte, size)))
		}
		equal(t, "first found", has(s, "first"), true)
		equal(t, "evicted", s.Stats().Evicted, 0)
		check(t, s)
	}
}

// A Put that fails leaves the old item, of any kind, as it was.
func TestNoMemoryLeavesTheOldItem(t *testing.T) {
	for _, old := range []int{10, 3000, 20000} {
		s, _ := open(t, store.Config{Memory: 2 << 20, Shards: 1, NoEvict: true, MaxItem: 4 << 20})
		m := store.Meta{Flags: 3, CAS: 4, Expires: 2000}
		testkit.Must(t, put(s, "key", m, keyed("old", old)))
		for _, size := range []int{store.LargeMin, 3000, 1000} {
			for i := 0; put(s, fmt.Sprint(size, i), store.Meta{}, make([]byte, size)) == nil; i++ {
			}
		}
		for _, n := range []int{10000, 100000, 3 << 20} { // more than is left anywhere
			e := s.Lock([]byte("key"))
			if err := e.Put(store.Meta{}, e.Value(), make([]byte, n)); !errors.Is(err, store.ErrNoMemory) {
				t.Errorf("Put of %d bytes more: %v", n, err)
			}
			equal(t, "value as before", bytes.Equal(e.Value(), keyed("old", old)), true)
			equal(t, "meta", e.Meta(), m)
			e.Unlock()
		}
		check(t, s)
	}
}

// The longest items that MaxItem allows fit into a small store, one after the other.
func TestHugeValuesInASmallStore(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 2 << 20, MaxItem: 1 << 20})
	fill(t, s, "small", 20000)
	for i := range 20 {
		key := fmt.Sprint("key", i%3)
		testkit.Must(t, put(s, key, store.Meta{}, keyed(key, 1<<20-store.HeadSize-10)))
		got, ok := get(s, key)
		if !ok || string(got[:4]) != key {
			t.Fatalf("%s is not there", key)
		}
		check(t, s)
	}
}

// An item that no store of this size can hold is refused, and nothing is evicted for it.
func TestAnItemLargerThanTheStore(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 2 << 20, Shards: 1, MaxItem: 8 << 20})
	fill(t, s, "a", 1000)
	if err := put(s, "key", store.Meta{}, make([]byte, 2<<20)); !errors.Is(err, store.ErrNoMemory) {
		t.Errorf("Put: %v", err)
	}
	equal(t, "items", s.Stats().Items, 1000)
}

// Room is made around the item that is replaced, which stays where it is until the new one is complete.
func TestAnItemIsReplacedInAFullStore(t *testing.T) {
	skipIfRaced(t)
	s, _ := open(t, store.Config{Memory: store.MinMemory, Shards: 1})
	random := rand.New(rand.NewPCG(8, 8))
	for i := range requestsOf(30000) {
		testkit.Must(t, put(s, fmt.Sprint("small", random.IntN(100000)), store.Meta{}, make([]byte, random.IntN(100))))
		key := fmt.Sprint("key", random.IntN(40))
		e := s.Lock([]byte(key))
		var head []byte
		if e.Found() {
			if random.IntN(2) == 0 {
				e.Use()
			}
			head = e.Value()[:random.IntN(len(e.Value())+1)]
		}
		want := bytes.Clone(head)
		tail := keyed(key, 5+random.IntN(store.LargeMin-5))
		testkit.Must(t, e.Put(store.Meta{}, head, tail))
		if want = append(want, tail...); !bytes.Equal(e.Value(), want) {
			t.Fatalf("%s has %d bytes, want %d", key, len(e.Value()), len(want))
		}
		e.Unlock()
		if i%1000 == 0 {
			check(t, s)
		}
	}
	check(t, s)
}
