package store_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// scatter fills a store without eviction with values of one page, and removes every other one. It returns the number of free pages.
func scatter(t *testing.T, s *store.Store) int {
	t.Helper()
	n := 0
	for ; put(s, fmt.Sprint("page", n), store.Meta{}, make([]byte, store.PageBytes)) == nil; n++ {
	}
	for i := 0; i < n; i += 2 {
		e := s.Lock([]byte(fmt.Sprint("page", i)))
		e.Delete()
		e.Unlock()
	}
	check(t, s)
	return (n + 1) / 2
}

// TestALargeValueIsStoredInScatteredPages, and no item is evicted or refused for that.
func TestALargeValueIsStoredInScatteredPages(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 8 << 20, MaxItem: 8 << 20, Shards: 1, NoEvict: true})
	free := scatter(t, s)
	want := bytes.Repeat([]byte("0123456789"), free*store.PageBytes/10)
	testkit.Must(t, put(s, "large", store.Meta{}, want))
	got, _ := get(s, "large")
	equal(t, "as put", bytes.Equal(got, want), true)
	equal(t, "evicted", s.Stats().Evicted, 0)
	check(t, s)
}

// TestScatteredPagesMakeRoomForSmallItems: pages in use are moved together, so that whole chunks become free for small items. The values are unchanged.
func TestScatteredPagesMakeRoomForSmallItems(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 8 << 20, Shards: 1, NoEvict: true})
	free := scatter(t, s)
	small := 0
	for ; put(s, fmt.Sprint("small", small), store.Meta{}, make([]byte, 1000)) == nil; small++ {
		if small%500 == 0 {
			check(t, s)
		}
	}
	if got, want := small*1064, free*store.PageBytes*9/10; got < want {
		t.Errorf("small items have %d bytes where pages of %d were free", got, free*store.PageBytes)
	}
	for i := 1; has(s, fmt.Sprint("page", i)); i += 2 {
		free--
	}
	if free > 1 {
		t.Errorf("%d values are gone", free)
	}
	check(t, s)
}

// TestAValueHasFewPieces if there are free chunks, and its size is rounded up by a few bytes only.
func TestAValueHasFewPieces(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 64 << 20, MaxItem: 32 << 20, Shards: 1})
	for _, n := range []int{store.PageBytes, 100_000, 1 << 20, 20 << 20} {
		testkit.Must(t, put(s, "key", store.Meta{}, make([]byte, n)))
		e := s.Lock([]byte("key"))
		if got, most := len(e.AppendParts(nil)), n/store.ChunkBytes+3; got > most {
			t.Errorf("a value of %d bytes lies in %d pieces, more than %d", n, got, most)
		}
		if got := e.Size(); got > n+store.HeadSize+20 {
			t.Errorf("a value of %d bytes takes %d", n, got)
		}
		e.Unlock()
		check(t, s)
	}
}

// TestAFreeChunkCanBeUsedForBlocksOrPages, whatever it was used for before.
func TestAFreeChunkCanBeUsedForBlocksOrPages(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 8 << 20, Shards: 1, NoEvict: true})
	var most [2]int
	for round := range 6 {
		size := []int{1000, 100_000}[round%2]
		n := 0
		for ; put(s, fmt.Sprint(n), store.Meta{}, make([]byte, size)) == nil; n++ {
		}
		if most[round%2] = max(most[round%2], n); n < most[round%2]*98/100 || n*size < 8<<20*9/10 {
			t.Errorf("round %d: room for %d items of %d bytes, once for %d", round, n, size, most[round%2])
		}
		for i := range n {
			e := s.Lock([]byte(fmt.Sprint(i)))
			e.Delete()
			e.Unlock()
		}
		check(t, s)
	}
}
