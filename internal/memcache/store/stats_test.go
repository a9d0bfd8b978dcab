package store_test

import (
	"fmt"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// Each item counts in the class of its size, and the sums of the classes are those of Stats.
func TestClassesAddUp(t *testing.T) {
	s, clock := open(t, store.Config{Memory: 4 << 20, Shards: 2, MaxItem: 1 << 20})
	for i := range 20000 {
		n := 1 + i*i%1000
		if i%50 == 0 || i == 19999 {
			n = i * 20
		}
		m := store.Meta{}
		if i%3 == 0 {
			m.Expires = clock.now() + 100
		}
		testkit.Must(t, put(s, fmt.Sprint(i), m, make([]byte, n)))
		get(s, fmt.Sprint(i-50))
		if i%5000 == 0 {
			clock.second.Add(300)
		}
	}
	want := make(map[int64]int64)
	classes := s.Classes()
	s.All(func(it store.Listed) bool {
		equal(t, "the class of a listed item", classes[store.ClassOf(it.Size)].Size >= int64(it.Size), true)
		for _, c := range classes {
			if int64(it.Size) <= c.Size {
				want[c.Size]++
				break
			}
		}
		return true
	})
	var sum store.Class
	for _, c := range classes {
		equal(t, fmt.Sprintf("items up to %d bytes", c.Size), c.Items, want[c.Size])
		sum.Items += c.Items
		sum.Bytes += c.Bytes
		sum.Total += c.Total
		sum.Evicted += c.Evicted
		sum.EvictedUnfetched += c.EvictedUnfetched
		sum.Expired += c.Expired
	}
	st := s.Stats()
	equal(t, "items", sum.Items, st.Items)
	equal(t, "bytes", sum.Bytes, st.Bytes)
	equal(t, "total", sum.Total, 20000)
	equal(t, "total", st.Total, 20000)
	equal(t, "evicted", sum.Evicted, st.Evicted)
	equal(t, "evicted unfetched", sum.EvictedUnfetched, st.EvictedUnfetched)
	equal(t, "expired", sum.Expired, st.Expired)
	if st.Evicted == 0 || st.EvictedUnfetched == 0 || st.EvictedUnfetched == st.Evicted || st.Expired == 0 || st.Large == 0 {
		t.Errorf("%+v", st)
	}
	if st.Items+st.Evicted+st.Expired+st.LateLookups != 20000 {
		t.Errorf("%d items, %d evicted, %d and %d expired are not 20000", st.Items, st.Evicted, st.Expired, st.LateLookups)
	}
}

func TestClassSizesRiseByAQuarter(t *testing.T) {
	s, _ := open(t, store.Config{})
	classes := s.Classes()
	for i := 1; i < len(classes)-1; i++ {
		if lo, hi := classes[i-1].Size, classes[i].Size; hi <= lo || hi > lo+lo/4 {
			t.Errorf("class %d ends at %d, the one before at %d", i, hi, lo)
		}
	}
	equal(t, "first", classes[0].Size, 64)
	equal(t, "last but one", classes[len(classes)-2].Size, 2<<20)
}

func TestOldestAgeIsSinceTheLastUse(t *testing.T) {
	s, clock := open(t, store.Config{Shards: 1})
	equal(t, "age", s.Stats().OldestAge, 0)
	testkit.Must(t, put(s, "a", store.Meta{}, nil))
	clock.second.Add(100)
	testkit.Must(t, put(s, "b", store.Meta{}, nil))
	clock.second.Add(10)
	equal(t, "age", s.Stats().OldestAge, 110)
	get(s, "a")
	equal(t, "age", s.Stats().OldestAge, 0)
}

// EvictedIdle of a class is the time since the last use of the item evicted last.
func TestEvictedIdleIsOfTheLastOne(t *testing.T) {
	s, clock := open(t, store.Config{Memory: 2 << 20, Shards: 1})
	testkit.Must(t, put(s, "old", store.Meta{Expires: 9000}, make([]byte, 1000)))
	clock.second.Add(500)
	for i := 0; has(s, "old"); i++ {
		testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{}, nil))
	}
	for _, c := range s.Classes() {
		if c.Evicted > 0 && c.Size > 1000 {
			equal(t, "idle", c.EvictedIdle, 500)
			equal(t, "expiring", c.EvictedExpiring, 1)
			return
		}
	}
	t.Error("no class has lost an item of a thousand bytes")
}

// All ends when its function returns false, and the function may use the store.
func TestAllEndsAndHoldsNoLock(t *testing.T) {
	s, _ := open(t, store.Config{})
	fill(t, s, "a", 5000)
	n := 0
	s.All(func(it store.Listed) bool {
		e := s.Lock(it.Key)
		e.Delete()
		e.Unlock()
		n++
		return n < 1000
	})
	equal(t, "called", n, 1000)
	equal(t, "items", s.Stats().Items, 4000)
	check(t, s)
}
