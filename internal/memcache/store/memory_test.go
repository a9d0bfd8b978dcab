package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

func TestSetMemoryGrowsAndShrinks(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 8 << 20, Shards: 2})
	small, large := make([]byte, 50), make([]byte, 30000)
	n := 0
	more := func() {
		for range 15000 {
			n++
			testkit.Must(t, put(s, fmt.Sprint(n), store.Meta{}, small))
			if n%100 == 0 {
				testkit.Must(t, put(s, fmt.Sprint("large", n), store.Meta{}, large))
			}
		}
		check(t, s)
	}
	more()
	for _, limit := range []int64{32 << 20, 16 << 20, 2 << 20, 64 << 20, 4 << 20} {
		testkit.Must(t, s.SetMemory(limit))
		st := s.Stats()
		if st.Memory > limit || st.Limit != limit {
			t.Errorf("%d bytes of memory, limit %d, want %d", st.Memory, st.Limit, limit)
		}
		check(t, s)
		more()
		// Memory is used in whole chunks, and one chunk of each shard may be almost empty.
		least := limit*13/16 - 2*store.ChunkBytes
		if st := s.Stats(); limit <= 16<<20 && (st.Memory > limit || st.Bytes < least) {
			t.Errorf("%d bytes of memory, %d of items, the limit is %d", st.Memory, st.Bytes, limit)
		}
	}
}

// Shrinking keeps the items that eviction would keep.
func TestSetMemoryEvictsByUse(t *testing.T) {
	skipIfRaced(t)
	s, _ := open(t, store.Config{Memory: 16 << 20, Shards: 1})
	for i := range 100000 {
		testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{}, make([]byte, 50)))
		if i < 5000 {
			get(s, fmt.Sprint(i))
		}
	}
	testkit.Must(t, s.SetMemory(4<<20))
	check(t, s)
	kept := 0
	for i := range 5000 {
		if has(s, fmt.Sprint(i)) {
			kept++
		}
	}
	if kept < 4950 {
		t.Errorf("%d of 5000 items that were used are left", kept)
	}
	if st := s.Stats(); st.Bytes < 3<<20 {
		t.Errorf("%d bytes of items are left", st.Bytes)
	}
}

func TestSetMemoryIsChecked(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 8 << 20, Shards: 2})
	for _, n := range []int64{-1, 0, 2*store.MinMemory - 1, 1 << 50} {
		if err := s.SetMemory(n); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("SetMemory(%d) returns %v", n, err)
		}
	}
	equal(t, "limit", s.Stats().Limit, 8<<20)
}

// A very large store can be made very small: its tables shrink, too.
func TestSetMemoryFromHugeToTiny(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 30 << 30, Shards: 1})
	fill(t, s, "a", 60000)
	testkit.Must(t, s.SetMemory(store.MinMemory))
	if st := s.Stats(); st.Memory > store.MinMemory || st.Items < 1000 {
		t.Errorf("%d bytes of memory, %d items", st.Memory, st.Items)
	}
	check(t, s)
}
