package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// TestValuesThatArePartsOfTheOldOneAreCopiedFromIt although pages and blocks are moved to make room for the copy.
func TestValuesThatArePartsOfTheOldOneAreCopiedFromIt(t *testing.T) {
	skipIfRaced(t)
	s, _ := open(t, store.Config{Memory: 2 << 20, Shards: 1})
	random := rand.New(rand.NewPCG(5, 6))
	for i := range requestsOf(30_000) {
		key := fmt.Sprint(random.IntN(60))
		e := s.Lock([]byte(key))
		switch {
		case !e.Found():
			testkit.Must(t, e.Put(store.Meta{}, varied(uint64(i), random.IntN(100_000))))
		case random.IntN(3) == 0:
			e.Delete()
		default:
			parts := e.AppendParts(nil)
			for j, p := range parts {
				parts[j] = p[random.IntN(len(p)+1):]
			}
			parts = append(parts, varied(uint64(i), random.IntN(20_000)))
			random.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			want := bytes.Join(parts, nil)
			testkit.Must(t, e.Put(store.Meta{}, parts...))
			if !bytes.Equal(e.Value(), want) {
				t.Fatalf("step %d: %s has other bytes than were put, %d of %d", i, key, e.Len(), len(want))
			}
		}
		e.Unlock()
		testkit.Must(t, put(s, fmt.Sprint("small", random.IntN(3000)), store.Meta{}, varied(uint64(i), random.IntN(2000))))
		if i%1000 == 0 {
			check(t, s)
		}
	}
}

// TestAnItemIsRemovedFirstIfItsNewValueNeedsItsMemory, but not if there is still no room, or the new value is copied from the old one.
func TestAnItemIsRemovedFirstIfItsNewValueNeedsItsMemory(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 2 << 20, Shards: 1, MaxItem: 4 << 20})
	const most = 1_500_000 // two of which there is no room for
	testkit.Must(t, put(s, "key", store.Meta{}, varied(1, most)))
	for _, n := range []int{3 << 20, most} {
		e := s.Lock([]byte("key"))
		parts := e.AppendParts(nil)
		if n == 3<<20 {
			parts = [][]byte{make([]byte, n)}
		}
		if err := e.Put(store.Meta{}, parts...); !errors.Is(err, store.ErrNoMemory) {
			t.Errorf("a value of %d bytes: %v", n, err)
		}
		equal(t, "the old value", bytes.Equal(e.Value(), varied(1, most)), true)
		e.Unlock()
		check(t, s)
	}
	testkit.Must(t, put(s, "key", store.Meta{}, varied(2, most)))
	got, _ := get(s, "key")
	equal(t, "the new value", bytes.Equal(got, varied(2, most)), true)
	check(t, s)
}
