package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/evmq/evmq/memcache/store"
)

// borrow stores a value and borrows it.
func borrow(t *testing.T, s *store.Store, key string, n int) *store.Large {
	t.Helper()
	must(t, put(s, key, store.Meta{}, keyed(key, n)))
	e := s.Lock([]byte(key))
	defer e.Unlock()
	return e.Borrow()
}

// What somebody has borrowed counts when its item is gone, by whatever way, and no longer when it is returned.
func TestALentValueCountsUntilItIsReturned(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *store.Store){
		"replaced by a large value": func(t *testing.T, s *store.Store) {
			must(t, put(s, "key", store.Meta{}, make([]byte, 200_000)))
		},
		"replaced by a small value": func(t *testing.T, s *store.Store) { must(t, put(s, "key", store.Meta{}, nil)) },
		"deleted": func(_ *testing.T, s *store.Store) {
			e := s.Lock([]byte("key"))
			e.Delete()
			e.Unlock()
		},
		"flushed": func(_ *testing.T, s *store.Store) { s.FlushAll(0) },
		"evicted": func(t *testing.T, s *store.Store) {
			for i := 0; has(s, "key"); i++ {
				must(t, put(s, fmt.Sprint(i), store.Meta{}, make([]byte, 1000)))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t, store.Config{Memory: 4 << 20, Shards: 1})
			v, again := borrow(t, s, "key", 100_000), borrow(t, s, "key", 100_000)
			equal(t, "lent", s.Stats().Lent > 100_000, true) // the first one
			v.Return()
			equal(t, "lent while the item is there", s.Stats().Lent, 0)
			end(t, s)
			lent, memory := s.Stats().Lent, s.Stats().Memory
			if lent < 100_000 || lent > 110_000 || memory < lent {
				t.Errorf("%d bytes are lent, of %d", lent, memory)
			}
			equal(t, "the value begins with", string(again.Bytes()[:3]), "key")
			again.Return()
			equal(t, "lent after its return", s.Stats().Lent, 0)
			equal(t, "memory that came back", memory-s.Stats().Memory, lent)
			check(t, s)
		})
	}
}

// Readers who keep what they have borrowed take half of the memory at most; small items go on, and so do large ones when some come back.
func TestLentValuesTakeHalfOfTheMemory(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 4 << 20, Shards: 1})
	fill(t, s, "small", 1000)
	var lent []*store.Large
	var err error
	for i := range 100 {
		if err = put(s, "key", store.Meta{}, make([]byte, 100_000)); err != nil {
			break
		}
		lent = append(lent, borrow(t, s, fmt.Sprint("key", i), 100_000))
		e := s.Lock([]byte(fmt.Sprint("key", i)))
		e.Delete()
		e.Unlock()
		if st := s.Stats(); st.Memory > 4<<20 {
			t.Fatalf("%d bytes of memory", st.Memory)
		}
	}
	if !errors.Is(err, store.ErrNoMemory) || len(lent) < 15 || len(lent) > 21 {
		t.Errorf("%v after %d values of 100 000 bytes", err, len(lent))
	}
	equal(t, "evicted", s.Stats().Evicted, 0)
	must(t, put(s, "another", store.Meta{}, nil))
	lent[0].Return()
	lent[1].Return()
	must(t, put(s, "key", store.Meta{}, make([]byte, 100_000)))
	for _, v := range lent[2:] {
		v.Return()
	}
	equal(t, "lent", s.Stats().Lent, 0)
	check(t, s)
}

// TestAppendLeavesWhatWasReadIntoTheRoomWhereItIs, and copies what lies elsewhere.
func TestAppendLeavesWhatWasReadIntoTheRoomWhereItIs(t *testing.T) {
	v := store.NewLarge(20_000)
	v.Append([]byte("head "))
	n := copy(v.Room(), "read into its place")
	v.Append(v.Room()[:n])
	v.Append([]byte(" tail"))
	v.Append(nil)
	if got := string(v.Bytes()); got != "head read into its place tail" {
		t.Errorf("%q", got)
	}
	if n := len(v.Room()) + v.Len(); n != v.Cap() {
		t.Errorf("room and value are %d of %d bytes", n, v.Cap())
	}
	v.Return()
}
