package store_test

import (
	"fmt"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

func TestFlushAllNow(t *testing.T) {
	for _, at := range []int64{0, 999, 1000} {
		s, clock := open(t, store.Config{})
		fill(t, s, "a", 2000)
		s.FlushAll(at)
		equal(t, "items", s.Stats().Items, 0)
		equal(t, "found", has(s, "a0"), false)
		check(t, s)
		fill(t, s, "b", 2000)
		clock.second.Add(10)
		equal(t, "items", s.Stats().Items, 2000)
		check(t, s)
	}
}

// Items stored before the time of the flush are not found from then on, and items stored later stay.
func TestFlushAllLater(t *testing.T) {
	s, clock := open(t, store.Config{})
	fill(t, s, "a", 100)
	s.FlushAll(1010)
	clock.second.Store(1009)
	fill(t, s, "b", 100)
	equal(t, "a found before", has(s, "a0"), true)
	clock.second.Store(1010)
	testkit.Must(t, put(s, "c", store.Meta{}, nil))
	equal(t, "a found", has(s, "a0"), false)
	equal(t, "b found", has(s, "b0"), false)
	clock.second.Store(2000)
	equal(t, "c found", has(s, "c"), true)
	equal(t, "items", s.Stats().Items, 1)
	check(t, s)
}

// A flush takes effect even if no operation runs in its second.
func TestADelayedFlushTakesEffectWithoutOperations(t *testing.T) {
	s, clock := open(t, store.Config{})
	fill(t, s, "a", 100)
	s.FlushAll(1010)
	clock.second.Store(5000)
	equal(t, "items", s.Stats().Items, 0)
	s.All(func(it store.Listed) bool {
		t.Errorf("%q is there", it.Key)
		return true
	})
}

func TestALaterFlushAllReplacesAnEarlierOne(t *testing.T) {
	s, clock := open(t, store.Config{})
	s.FlushAll(1010)
	s.FlushAll(1020)
	fill(t, s, "a", 100)
	clock.second.Store(1010)
	equal(t, "found at the first time", has(s, "a0"), true)
	s.FlushAll(0)
	fill(t, s, "a", 100)
	clock.second.Store(1020)
	equal(t, "found at the second time", has(s, "a0"), true)
}

// A flush does not read the items.
func TestFlushAllTakesNoStepPerItem(t *testing.T) {
	s, clock := open(t, store.Config{})
	fill(t, s, "a", 50000)
	before := s.Stats().Memory
	s.Steps()
	s.FlushAll(0)
	equal(t, "steps", s.Steps(), 0)
	equal(t, "items", s.Stats().Items, 0)
	clock.second.Add(1)
	equal(t, "items freed", s.Reap(1000), 50000)
	equal(t, "steps", s.Steps(), 0)
	if after := s.Stats(); after.Memory > before || after.Index >= 50000*8 || after.Flushed != 0 {
		t.Errorf("memory is %d, was %d; the index has %d, %d are kept", after.Memory, before, after.Index, after.Flushed)
	}
}

// TestAnItemStoredInTheLastSecondOfAFlushExistsUntilUnlock, is found by no later look-up, and is freed after the second.
func TestAnItemStoredInTheLastSecondOfAFlushExistsUntilUnlock(t *testing.T) {
	for _, delay := range []int64{0, 1, 10} {
		s, clock := open(t, store.Config{})
		testkit.Must(t, put(s, "a", store.Meta{}, []byte("old")))
		s.FlushThrough(1000 + delay)
		equal(t, "found before", has(s, "a"), delay > 0)
		clock.second.Add(delay)
		for i := range 3 {
			e := s.Lock([]byte("a"))
			equal(t, "found", e.Found(), false)
			testkit.Must(t, e.Put(store.Meta{Flags: 7}, []byte("new")))
			equal(t, "found when it is stored", e.Found(), true)
			equal(t, "value", string(e.Value()), "new")
			equal(t, "flags", e.Meta().Flags, 7)
			e.Use()
			e.Unlock()
			if delay > 0 || i > 0 {
				equal(t, "look-ups that met what was flushed", s.Stats().FlushedLookups, int64(i+1))
			}
			check(t, s)
		}
		s.All(func(it store.Listed) bool {
			t.Errorf("All has %q", it.Key)
			return true
		})
		testkit.Must(t, put(s, "b", store.Meta{}, nil))
		clock.second.Add(1)
		equal(t, "a found in the next second", has(s, "a"), false)
		equal(t, "b found in the next second", has(s, "b"), false)
		testkit.Must(t, put(s, "a", store.Meta{}, nil))
		equal(t, "a found when it is stored after the flush", has(s, "a"), true)
		check(t, s)
	}
}

// TestAReplacedFlushDoesNotBringItemsBack that it has removed in the present second.
func TestAReplacedFlushDoesNotBringItemsBack(t *testing.T) {
	for name, flush := range map[string]func(s *store.Store){
		"at once":       func(s *store.Store) { s.FlushAll(0) },
		"later":         func(s *store.Store) { s.FlushAll(5000) },
		"through later": func(s *store.Store) { s.FlushThrough(5000) },
		"not at all":    func(s *store.Store) { s.FlushThrough(10) },
	} {
		s, clock := open(t, store.Config{})
		s.FlushThrough(1000)
		testkit.Must(t, put(s, "a", store.Meta{}, nil))
		flush(s)
		equal(t, name+": a found", has(s, "a"), false)
		testkit.Must(t, put(s, "b", store.Meta{}, nil))
		equal(t, name+": b found", has(s, "b"), true)
		clock.second.Add(100)
		equal(t, name+": b found later", has(s, "b"), true)
		check(t, s)
	}
}

// TestALookUpCountsAFlushedItem once for each key. Items that no look-up finds count as reclaimed, fetched or not.
func TestALookUpCountsAFlushedItem(t *testing.T) {
	s, clock := open(t, store.Config{})
	fill(t, s, "a", 100)
	testkit.Must(t, put(s, "large", store.Meta{}, make([]byte, 100_000)))
	_, ok := get(s, "a1")
	equal(t, "found", ok, true)
	s.FlushAll(0)
	equal(t, "found", has(s, "a0") || has(s, "large") || has(s, "other"), false)
	equal(t, "found again", has(s, "a0"), false)
	check(t, s)
	equal(t, "look-ups that met what was flushed", s.Stats().FlushedLookups, 2)
	equal(t, "reaped in the second of the flush", s.Reap(1000), 0)
	clock.second.Add(1)
	equal(t, "reaped", s.Reap(1000), 99)
	equal(t, "found", has(s, "a5"), false)
	st := s.Stats()
	equal(t, "look-ups that met what was flushed", st.FlushedLookups, 2)
	equal(t, "reclaimed", st.Expired, 99)
	equal(t, "reclaimed unfetched", st.ExpiredUnfetched, 98)
	equal(t, "kept", st.Flushed, 0)
}

// TestMemoryOfFlushedItemsIsAvailable for new items at once, without a Reap, also without eviction.
func TestMemoryOfFlushedItemsIsAvailable(t *testing.T) {
	for _, size := range []int{100, 100_000} {
		s, _ := open(t, store.Config{Memory: 4 << 20, Shards: 1, NoEvict: true})
		most := 0
		for ; put(s, fmt.Sprint("a", most), store.Meta{}, make([]byte, size)) == nil; most++ {
		}
		for range 3 {
			s.FlushAll(0)
			for i := range most {
				testkit.Must(t, put(s, fmt.Sprint("a", i), store.Meta{}, make([]byte, size)))
			}
			check(t, s)
		}
		s.FlushAll(0)
		testkit.Must(t, s.SetMemory(2<<20))
		check(t, s)
	}
}

// fill stores n items.
func fill(t testing.TB, s *store.Store, prefix string, n int) {
	t.Helper()
	for i := range n {
		testkit.Must(t, put(s, fmt.Sprint(prefix, i), store.Meta{}, keyed(prefix, 10+i%100)))
	}
}
