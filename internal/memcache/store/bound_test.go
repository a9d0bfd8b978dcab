package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// The number of steps of an operation is bounded by the size of its item, whatever is in the store: here all items are referenced, sizes change
// all the time, and many items have expired.
func TestWorkIsBoundedByTheItem(t *testing.T) {
	skipIfRaced(t)
	s, clock := open(t, store.Config{Memory: 6 << 20, Shards: 1})
	random := rand.New(rand.NewPCG(3, 4))
	most, worst := 0, 0.0
	sizes := []int{20, 200, 2000, store.LargeMin - 100, 40000, 400000}
	for i := range 30000 {
		size := sizes[random.IntN(len(sizes))]
		if size > 10000 && random.IntN(20) > 0 {
			size = 20
		}
		key := fmt.Sprint(random.IntN(60000))
		expires := int64(0)
		if random.IntN(4) == 0 {
			expires = clock.now() + 1 + int64(random.IntN(100))
		}
		if i%1000 == 0 {
			clock.second.Add(20)
			s.All(func(it store.Listed) bool {
				get(s, string(it.Key))
				return true
			})
		}
		s.Steps()
		testkit.Must(t, put(s, key, store.Meta{Expires: expires}, make([]byte, size)))
		steps := s.Steps()
		// Items of twice the bytes are evicted, and some reinserted for each; then as many are moved. A large item may need what is in
		// chunks.
		bytes := size + 2*store.HeadSize
		if size >= store.LargeMin {
			bytes += 3 * store.ChunkBytes
		}
		bound := store.MaxReinserts + 2*bytes/store.HeadSize*(store.ReinsertsPerEviction+2) + 16
		most, worst = max(most, steps), max(worst, float64(steps)/float64(bound))
		if steps > bound {
			t.Fatalf("a value of %d bytes took %d steps, more than %d", size, steps, bound)
		}
	}
	t.Logf("at most %d steps, %.3f of the bound", most, worst)
}

// If every item is referenced, one is evicted nevertheless after a bounded number of steps.
func TestWorkIsBoundedIfAllItemsAreReferenced(t *testing.T) {
	skipIfRaced(t)
	s, _ := open(t, store.Config{Memory: 8 << 20, Shards: 1})
	n := 0
	for ; s.Stats().Evicted == 0; n++ {
		testkit.Must(t, put(s, fmt.Sprint(n), store.Meta{}, nil))
	}
	for i := range n {
		get(s, fmt.Sprint(i))
	}
	s.Steps()
	for i := range 100 {
		testkit.Must(t, put(s, fmt.Sprint("new", i), store.Meta{}, nil))
		if steps := s.Steps(); steps > 500 {
			t.Fatalf("a Put took %d steps among %d items", steps, n)
		}
	}
}

// The index grows and shrinks with the number of items, by at most two buckets in an operation.
func TestTheIndexGrowsBucketByBucket(t *testing.T) {
	skipIfRaced(t)
	s, _ := open(t, store.Config{Memory: 64 << 20, Shards: 1})
	const n = 50000
	for i := range n {
		s.Steps()
		testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{}, nil))
		if steps := s.Steps(); steps > 2 {
			t.Fatalf("item %d took %d steps", i, steps)
		}
		if i%5000 == 0 {
			check(t, s)
		}
	}
	if st := s.Stats(); st.Buckets < n || st.Buckets > n+2 || st.Index > n*9 {
		t.Errorf("%d buckets of %d bytes for %d items", st.Buckets, st.Index, n)
	}
	for i := range n {
		if !has(s, fmt.Sprint(i)) {
			t.Fatalf("item %d is not found", i)
		}
	}
	for i := range n {
		e := s.Lock([]byte(fmt.Sprint(i)))
		e.Delete()
		e.Unlock()
		if i%5000 == 0 {
			check(t, s)
		}
	}
	equal(t, "buckets", s.Stats().Buckets, 1024)
	check(t, s)
}

// Gets and sets of small items allocate nothing, evicting or not.
func TestSmallItemsAllocateNothing(t *testing.T) {
	s, clock := open(t, store.Config{Memory: 4 << 20, Shards: 1})
	fill(t, s, "item", 30000)
	random := rand.New(rand.NewPCG(1, 1))
	key, value, tail := []byte("item....."), make([]byte, 500), []byte("!")
	i := 0
	if n := testing.AllocsPerRun(5000, func() {
		i++
		key[4+i%4] = byte('0' + random.IntN(10))
		e := s.Lock(key)
		if e.Found() {
			e.Use()
			_ = e.Value()
		}
		m := store.Meta{CAS: s.NextCAS(), Expires: clock.now() + 1 + int64(i%3)*100}
		if err := e.Put(m, value[:random.IntN(len(value))]); err != nil {
			t.Fatal(err)
		}
		if err := e.Put(m, e.Value(), tail); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			e.Delete()
		}
		e.Unlock()
		s.Reap(2)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if s.Stats().Evicted == 0 {
		t.Error("nothing was evicted")
	}
}

// If very many items have expired at once, a Put frees only the memory that it needs.
func TestWorkIsBoundedIfAllItemsHaveExpired(t *testing.T) {
	skipIfRaced(t)
	for _, size := range []int{50, 5000, 100000, 900000} {
		s, clock := open(t, store.Config{Memory: 8 << 20, Shards: 1})
		for i := range 60000 {
			testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{Expires: 1001 + int64(i%2)*10000}, make([]byte, i%60)))
		}
		clock.second.Store(1001)
		s.Steps()
		testkit.Must(t, put(s, "key", store.Meta{}, make([]byte, size)))
		bytes := size + 3*store.HeadSize
		if size >= store.LargeMin {
			bytes += 3 * store.ChunkBytes
		}
		if steps, bound := s.Steps(), 2*bytes/store.HeadSize+64; steps > bound {
			t.Errorf("a value of %d bytes took %d steps, more than %d", size, steps, bound)
		}
		check(t, s)
	}
}
