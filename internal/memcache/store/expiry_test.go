package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// lifetimes are seconds around every level of the wheel, up to years.
func lifetimes() []int64 {
	var all []int64
	for _, n := range []int64{1, 2, 60, 64, 128, 3600, 4096, 8192, 86400, 1 << 18, 30 * 86400, 1 << 24, 365 * 86400, 1 << 30, 3 << 30} {
		all = append(all, n-1, n, n+1)
	}
	return all[1:]
}

// An item is there until the second before it expires, and is gone in that second, found by a look-up.
func TestExpiryIsToTheSecond(t *testing.T) {
	for _, begin := range []int64{1, 63, 64, 1000, 4095, 1790000000, 1<<32 - 4<<30/2} {
		for _, n := range lifetimes() {
			s, clock := openAt(t, store.Config{Memory: 1 << 20}, begin)
			e := begin + n
			if e >= 1<<32 {
				continue
			}
			testkit.Must(t, put(s, "key", store.Meta{Expires: e}, []byte("v")))
			clock.second.Store(e - 1)
			equal(t, fmt.Sprintf("from %d, at %d: found", begin, e-1), has(s, "key"), true)
			clock.second.Store(e)
			equal(t, fmt.Sprintf("from %d, at %d: found", begin, e), has(s, "key"), false)
			equal(t, "look-ups of what has expired", s.Stats().LateLookups, 1)
			equal(t, "items", s.Stats().Items, 0)
		}
	}
}

// Reap frees all expired items and no others. It examines others only when it moves them to a lower level of the wheel.
func TestReapFreesExactlyTheExpiredItems(t *testing.T) {
	skipIfRaced(t)
	s, clock := open(t, store.Config{Memory: 8 << 20, Shards: 2})
	random := rand.New(rand.NewPCG(5, 5))
	expires := make(map[string]int64)
	for i := range 20000 {
		key := fmt.Sprint(i)
		life := lifetimes()[random.IntN(len(lifetimes()))]
		expires[key] = clock.now() + life
		if expires[key] >= 1<<32 {
			expires[key] = 0
		}
		testkit.Must(t, put(s, key, store.Meta{Expires: expires[key]}, nil))
	}
	steps := 0
	for _, n := range append(lifetimes(), 0) {
		clock.second.Store(max(clock.now(), 1000+n))
		s.Steps()
		for s.Reap(1000) > 0 || s.Steps() > 0 {
			steps++
		}
		left := 0
		for _, e := range expires {
			if e == 0 || e > clock.now() {
				left++
			}
		}
		equal(t, fmt.Sprintf("items at %d", clock.now()), s.Stats().Items, int64(left))
		check(t, s)
	}
	if st := s.Stats(); st.Reaped == 0 || st.Reaped != st.Expired || st.ExpiredUnfetched != st.Expired {
		t.Errorf("%+v", st)
	}
	if steps > 500 {
		t.Errorf("%d rounds of 1000 steps for 20000 items", steps)
	}
}

// Reap(n) takes about n steps.
func TestReapIsBounded(t *testing.T) {
	s, clock := open(t, store.Config{Memory: 8 << 20, Shards: 4})
	for i := range 5000 {
		testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{Expires: 2000}, nil))
	}
	clock.second.Store(2000)
	s.Steps()
	found := 0
	for range 5000 * 2 / 90 { // each of them moves down once, and is freed then
		n := s.Reap(100)
		if steps := s.Steps(); n > 100 || steps > 110 {
			t.Fatalf("Reap(100) freed %d items in %d steps", n, steps)
		}
		found += n
	}
	if found < 4500 {
		t.Errorf("only %d items found", found)
	}
	check(t, s)
}

func TestSetMetaMovesExpiry(t *testing.T) {
	s, clock := open(t, store.Config{})
	testkit.Must(t, put(s, "key", store.Meta{Expires: 1010}, []byte("v")))
	set := func(expires int64) (found bool) {
		e := s.Lock([]byte("key"))
		e.SetMeta(store.Meta{Expires: expires})
		e.Unlock()
		return has(s, "key")
	}
	equal(t, "found", set(90000), true)
	clock.second.Store(89999)
	s.Reap(1000)
	equal(t, "found", set(0), true)
	clock.second.Store(1 << 31)
	s.Reap(1000)
	equal(t, "found", set(clock.now()+1), true)
	equal(t, "found after the present", set(clock.now()), false)
	equal(t, "items", s.Stats().Items, 0)
}

// An item stored with an expiry that has passed, or given one, can be used until Unlock. The next look-up does not find it and counts it, and Reap
// frees an item that no look-up has found.
func TestAnItemPutWithAPastExpiryExistsUntilUnlock(t *testing.T) {
	for _, large := range []int{1, store.LargeMin} {
		for i, expires := range []int64{-1, 1, 999, 1000} {
			s, _ := open(t, store.Config{})
			testkit.Must(t, put(s, "key", store.Meta{}, []byte("v")))
			for _, change := range []func(e *store.Entry){
				func(e *store.Entry) {
					testkit.Must(t, e.Put(store.Meta{Expires: expires, Flags: 7}, make([]byte, large)))
				},
				func(e *store.Entry) {
					testkit.Must(t, e.Put(store.Meta{}, make([]byte, large)))
					e.SetMeta(store.Meta{Expires: expires, Flags: 7})
				},
			} {
				before := s.Stats()
				e := s.Lock([]byte("key"))
				change(&e)
				equal(t, "found", e.Found(), true)
				equal(t, "length", len(e.Value()), large)
				equal(t, "meta", e.Meta(), store.Meta{Expires: 1000, Flags: 7})
				e.Unlock()
				check(t, s)
				equal(t, "items until they are met", s.Stats().Items, 1)
				equal(t, "found later", has(s, "key"), false)
				equal(t, "look-ups that met it", s.Stats().LateLookups-before.LateLookups, 1)
				equal(t, "found again", has(s, "key"), false)
				equal(t, "items stored", s.Stats().Total-before.Total, 1)
				equal(t, "items", s.Stats().Items, 0)
			}
			testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{Expires: expires}, make([]byte, large)))
			equal(t, "reaped", s.Reap(100), 1)
			equal(t, "expired", s.Stats().Expired, 1)
			check(t, s)
		}
	}
}

// TestAnExpiredItemCanBePutIntoAFullStore: it is not removed itself to make room.
func TestAnExpiredItemCanBePutIntoAFullStore(t *testing.T) {
	for _, noEvict := range []bool{false, true} {
		s, _ := open(t, store.Config{Memory: 2 << 20, MaxItem: 1 << 20, Shards: 1, NoEvict: noEvict})
		for i := range 40_000 {
			e := s.Lock([]byte(fmt.Sprint(i % 300)))
			err := e.Put(store.Meta{Expires: -1}, make([]byte, i%3000))
			if err == nil {
				equal(t, "length", len(e.Value()), i%3000)
				e.SetMeta(store.Meta{Expires: int64(i % 2000)})
				err = e.Put(store.Meta{Expires: 5}, e.Value(), make([]byte, i%9000))
			}
			if err != nil && !errors.Is(err, store.ErrNoMemory) {
				t.Fatal(err)
			}
			e.Unlock()
		}
		check(t, s)
	}
}

// If the clock goes back, expired items do not reappear.
func TestTimeDoesNotGoBack(t *testing.T) {
	s, clock := open(t, store.Config{Shards: 1})
	testkit.Must(t, put(s, "key", store.Meta{Expires: 1010}, []byte("v")))
	clock.second.Store(1010)
	equal(t, "other found", has(s, "other"), false)
	clock.second.Store(1005)
	equal(t, "found", has(s, "key"), false)
}

// Expired items are removed before others are evicted.
func TestExpiredItemsAreRemovedFirst(t *testing.T) {
	s, clock := open(t, store.Config{Memory: 4 << 20, Shards: 1})
	kept := 10000 // about a quarter of the memory
	for i := range kept {
		testkit.Must(t, put(s, fmt.Sprint("kept", i), store.Meta{}, make([]byte, 40)))
	}
	for i := 0; s.Stats().Evicted == 0 && i < 15000; i++ {
		testkit.Must(t, put(s, fmt.Sprint("brief", i), store.Meta{Expires: 1001}, make([]byte, 40)))
	}
	clock.second.Store(1001)
	for i := range 20000 {
		testkit.Must(t, put(s, fmt.Sprint("new", i), store.Meta{}, make([]byte, 40)))
	}
	equal(t, "evicted", s.Stats().Evicted, 0)
	for i := range kept {
		if !has(s, fmt.Sprint("kept", i)) {
			t.Fatalf("item %d was evicted, although others had expired", i)
		}
	}
}
