package store_test

import (
	"fmt"
	"testing"

	"github.com/evmq/evmq/memcache/store"
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

// What is stored before the moment is gone from the moment on, and what is stored then stays.
func TestFlushAllLater(t *testing.T) {
	s, clock := open(t, store.Config{})
	fill(t, s, "a", 100)
	s.FlushAll(1010)
	clock.second.Store(1009)
	fill(t, s, "b", 100)
	equal(t, "a found before", has(s, "a0"), true)
	clock.second.Store(1010)
	must(t, put(s, "c", store.Meta{}, nil))
	equal(t, "a found", has(s, "a0"), false)
	equal(t, "b found", has(s, "b0"), false)
	clock.second.Store(2000)
	equal(t, "c found", has(s, "c"), true)
	equal(t, "items", s.Stats().Items, 1)
	check(t, s)
}

// A flush that nobody has seen happen has happened all the same.
func TestFlushAllLaterIsNotMissed(t *testing.T) {
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

// Flushing does not look at items.
func TestFlushAllTakesNoStepPerItem(t *testing.T) {
	s, _ := open(t, store.Config{})
	fill(t, s, "a", 50000)
	before := s.Stats().Memory
	s.Steps()
	s.FlushAll(0)
	equal(t, "steps", s.Steps(), 0)
	if after := s.Stats(); after.Memory > before || after.Index >= 50000*8 {
		t.Errorf("memory is %d, was %d; the index has %d", after.Memory, before, after.Index)
	}
}

// fill stores n items.
func fill(t testing.TB, s *store.Store, prefix string, n int) {
	t.Helper()
	for i := range n {
		must(t, put(s, fmt.Sprint(prefix, i), store.Meta{}, keyed(prefix, 10+i%100)))
	}
}
