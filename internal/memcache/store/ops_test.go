package store_test

import (
	"fmt"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// Operations of clients are counted in the class of the item's size, a set also if nothing is stored.
func TestOpsAreCountedByTheItemsSize(t *testing.T) {
	s, _ := open(t, store.Config{})
	for _, n := range []int{1, 1000, store.LargeMin + 500} {
		key := []byte(fmt.Sprint("key", n))
		for op := range store.NumOps {
			e := s.Lock(key)
			if op == store.Set {
				e.CountSet(n)
				testkit.Must(t, e.Put(store.Meta{}, make([]byte, n)))
				e.CountSet(n) // one that is not stored
			} else {
				for range op {
					e.Count(op)
				}
			}
			size := int64(e.Size())
			e.Unlock()
			for _, c := range s.Classes() {
				want := max(int64(op), 2-2*int64(op))
				if c.Items == 0 {
					want = 0
				} else if c.Size < size || c.Size > size+size/4+16 {
					continue // of another n
				}
				equal(t, fmt.Sprint("op ", op, " of items up to ", c.Size), c.Ops[op], want)
			}
		}
	}
	st := s.Stats()
	for op := range store.NumOps {
		equal(t, fmt.Sprint("op ", op), st.Ops[op], 3*max(int64(op), 2-2*int64(op)))
	}
}

// Eviction moves items that were used to a protected queue, and evicts some of them if all were used.
func TestEvictionCountsItemsThatItKeeps(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 2 << 20, Shards: 1})
	fillAndUse := func(use bool) {
		for i := range 60000 {
			testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{}, nil))
			if use {
				get(s, fmt.Sprint(i))
			}
		}
	}
	fillAndUse(false)
	st := s.Stats()
	if st.Evicted == 0 || st.EvictedActive != 0 {
		t.Errorf("of %d evicted, %d were referenced", st.Evicted, st.EvictedActive)
	}
	fillAndUse(true)
	st = s.Stats()
	if st.Promoted == 0 || st.Reinserted == 0 || st.EvictedActive == 0 || st.EvictedActive >= st.Evicted {
		t.Errorf("%+v", st)
	}
	classes := int64(0)
	for _, c := range s.Classes() {
		classes += c.EvictedActive
	}
	equal(t, "evicted, referenced", classes, st.EvictedActive)
}
