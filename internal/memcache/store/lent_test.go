package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// borrow stores a value and borrows it.
func borrow(t *testing.T, s *store.Store, key string, n int) *store.Lease {
	t.Helper()
	testkit.Must(t, put(s, key, store.Meta{}, keyed(key, n)))
	e := s.Lock([]byte(key))
	defer e.Unlock()
	return e.Borrow(key)
}

// giveBack returns all parts of a lease.
func giveBack(l *store.Lease) { l.Return(len(l.Parts())) }

// TestALentValueCountsUntilItIsReturned, also after its item was removed in any way.
func TestALentValueCountsUntilItIsReturned(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *store.Store){
		"replaced by a large value": func(t *testing.T, s *store.Store) {
			testkit.Must(t, put(s, "key", store.Meta{}, make([]byte, 200_000)))
		},
		"replaced by a small value": func(t *testing.T, s *store.Store) { testkit.Must(t, put(s, "key", store.Meta{}, nil)) },
		"deleted": func(_ *testing.T, s *store.Store) {
			e := s.Lock([]byte("key"))
			e.Delete()
			e.Unlock()
		},
		"flushed": func(t *testing.T, s *store.Store) {
			s.FlushAll(0)
			for i := range 50 { // some in each shard, which frees what the flush has removed
				testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{}, nil))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t, store.Config{Memory: 4 << 20, Shards: 1})
			const pages = 6 * store.PageBytes
			v, again := borrow(t, s, "key", 100_000), borrow(t, s, "key", 100_000)
			equal(t, "lent", s.Stats().Lent, pages) // the first one
			giveBack(v)
			equal(t, "lent while the item is there", s.Stats().Lent, 0)
			equal(t, "held while the item is there", s.Stats().Held, pages)
			end(t, s)
			equal(t, "lent", s.Stats().Lent, pages)
			equal(t, "the value begins with", string(again.Parts()[0][:3]), "key")
			check(t, s)
			giveBack(again)
			if st := s.Stats(); st.Lent != 0 || st.Held != 0 {
				t.Errorf("%d bytes are lent, %d held", st.Lent, st.Held)
			}
			check(t, s)
		})
	}
}

// Items whose pages are lent are evicted last, since their memory would not become free.
func TestLentItemsAreEvictedLast(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 4 << 20, Shards: 1})
	l := borrow(t, s, "key", 500_000)
	for i := range 100 {
		testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{}, make([]byte, 100_000)))
	}
	equal(t, "there", has(s, "key"), true)
	giveBack(l)
	for i := range 100 {
		testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{}, make([]byte, 100_000)))
	}
	equal(t, "there after it was returned", has(s, "key"), false)
	check(t, s)
}

// TestLentValuesLeaveRoomForSmallItems: small items can always be stored, and large ones when enough has been returned. The error distinguishes memory
// that is lent from memory that cannot exist.
func TestLentValuesLeaveRoomForSmallItems(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 4 << 20, MaxItem: 8 << 20, Shards: 1})
	fill(t, s, "small", 100)
	var lent []*store.Lease
	var err error
	for i := range 100 {
		if err = put(s, "key", store.Meta{}, make([]byte, 100_000)); err != nil {
			break
		}
		lent = append(lent, borrow(t, s, fmt.Sprint("key", i), 100_000))
		if st := s.Stats(); st.Memory > 4<<20 {
			t.Fatalf("%d bytes of memory", st.Memory)
		}
		check(t, s)
	}
	if !errors.Is(err, store.ErrLent) || !errors.Is(err, store.ErrNoMemory) || len(lent) < 30 {
		t.Errorf("%v after %d values of 100 000 bytes", err, len(lent))
	}
	if err := put(s, "key", store.Meta{}, make([]byte, 5<<20)); errors.Is(err, store.ErrLent) || !errors.Is(err, store.ErrNoMemory) {
		t.Errorf("more than there is: %v", err)
	}
	fill(t, s, "more", 5000)
	held := s.Leases([]byte("key"), nil)
	if len(held) != len(lent) || held[0].Holder != "key0" || held[0].Bytes != 6*store.PageBytes {
		t.Errorf("%d leases, %d are reported, the first of %v, %d bytes", len(lent), len(held), held[0].Holder, held[0].Bytes)
	}
	giveBack(lent[0])
	giveBack(lent[1])
	testkit.Must(t, put(s, "key", store.Meta{}, make([]byte, 100_000)))
	for _, l := range lent[2:] {
		giveBack(l)
	}
	equal(t, "held", s.Stats().Held, 0)
	check(t, s)
}

// TestAWaitingFunctionIsCalledWhenMemoryIsReturned, once, also if it was returned before the wait.
func TestAWaitingFunctionIsCalledWhenMemoryIsReturned(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 2 << 20, Shards: 1})
	l := borrow(t, s, "key", 1_000_000)
	for _, early := range []bool{false, true} {
		v := s.Receive([]byte("another"), 1_900_000, nil)
		for err := error(nil); err == nil; {
			if err = v.Grow(30_000); err == nil {
				v.Append(make([]byte, 30_000))
			} else if !errors.Is(err, store.ErrLent) {
				t.Fatal(err)
			}
		}
		equal(t, "coming", s.Stats().Coming, int64(v.Held()))
		check(t, s)
		calls := 0
		if early {
			giveBack(l)
		}
		v.Wait(func() { calls++ })
		if !early {
			equal(t, "calls", calls, 0)
			giveBack(l)
		}
		equal(t, "calls", calls, 1)
		testkit.Must(t, v.Grow(30_000))
		v.Free()
		equal(t, "coming", s.Stats().Coming, 0)
		check(t, s)
		l = borrow(t, s, "key", 1_000_000)
	}
	giveBack(l)
}

// TestAnAnnouncedValueHasLittleMemory until its bytes arrive.
func TestAnAnnouncedValueHasLittleMemory(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 16 << 20, Shards: 1})
	v := s.Receive([]byte("key"), 1<<20, nil)
	equal(t, "held before anything has come", v.Held(), 0)
	for v.Len() < 1<<20 {
		testkit.Must(t, v.Grow(1024))
		v.Append(make([]byte, 1024))
		if most := 2*v.Len() + 2*store.PageBytes; v.Held() > min(most, v.Len()+store.ChunkBytes) {
			t.Fatalf("%d bytes are held when %d have come", v.Held(), v.Len())
		}
	}
	v.Free()
	check(t, s)
}

// TestLargeValuesAllocateNothing when they are received, stored, lent and returned.
func TestLargeValuesAllocateNothing(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("the detector has pools forget at random")
	}
	s, _ := open(t, store.Config{Memory: 4 << 20, Shards: 1})
	key, p, i := []byte("key."), make([]byte, 30_000), 0
	one := func() {
		i++
		key[3] = byte('a' + i%20)
		v := s.Receive(key, 300_000, nil)
		for v.Len() < 300_000 {
			testkit.Must(t, v.Grow(len(p)))
			v.Append(p)
		}
		e := s.Lock(key)
		testkit.Must(t, e.PutLarge(store.Meta{}, v, 299_998))
		l := e.Borrow(s)
		e.Unlock()
		v.Free()
		giveBack(l)
	}
	for range 100 {
		one()
	}
	if n := testing.AllocsPerRun(500, one); n >= 1 { // a collection may empty a pool
		t.Errorf("%v allocations", n)
	}
	if s.Stats().Evicted == 0 {
		t.Error("nothing was evicted")
	}
}
