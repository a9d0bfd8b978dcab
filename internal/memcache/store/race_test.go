package store_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
)

// All methods may be called from any goroutine: no increment is lost, and large values may be read without a lock.
func TestAnyGoroutine(t *testing.T) {
	s, clock := open(t, store.Config{Memory: 16 << 20, Shards: 4})
	const goroutines, rounds = 4, 3000
	counters := []string{"one", "two", "three"}
	var all sync.WaitGroup
	for g := range goroutines {
		random := rand.New(rand.NewPCG(uint64(g), 7))
		all.Go(func() {
			for i := range rounds {
				count(t, s, counters[i%len(counters)])
				replaceBorrowed(t, s, clock, fmt.Sprint(random.IntN(200)), random.IntN(3*store.LargeMin)+4)
			}
		})
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	other := func(fn func()) {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					fn()
				}
			}
		})
	}
	other(func() { s.Reap(50); clock.second.Add(1) })
	other(func() { s.Stats(); s.Classes() })
	other(func() {
		s.All(func(store.Listed) bool { return true })
		for _, n := range []int64{17 << 20, 16 << 20} {
			if err := s.SetMemory(n); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	close(stop)
	others.Wait()
	for _, key := range counters {
		got, _ := get(s, key)
		equal(t, key, string(got), strconv.Itoa(goroutines*rounds/len(counters)))
	}
	check(t, s)
}

// count adds 1 to the number that is the value of key.
func count(t *testing.T, s *store.Store, key string) {
	e := s.Lock([]byte(key))
	n := 0
	if e.Found() {
		e.Use()
		n, _ = strconv.Atoi(string(e.Value()))
	}
	if err := e.Put(store.Meta{CAS: s.NextCAS()}, []byte(strconv.Itoa(n+1))); err != nil {
		t.Error(err)
	}
	e.Unlock()
}

// replaceBorrowed stores a value of n bytes for key while the one before, if there is one, is borrowed.
func replaceBorrowed(t *testing.T, s *store.Store, clock *clock, key string, n int) {
	e := s.Lock([]byte(key))
	var borrowed *store.Lease
	if e.Found() {
		borrowed = e.Borrow(nil)
	}
	e.Unlock()
	if err := putLarge(s, key, store.Meta{Expires: clock.now() + 50}, keyed(key, n)); err != nil {
		t.Error(err)
	}
	if borrowed != nil {
		if b := borrowed.Parts()[0]; string(b[:len(key)]) != key {
			t.Errorf("the value of %s begins with %s", key, b[:len(key)])
		}
		borrowed.Return(len(borrowed.Parts()))
	}
}

// FlushAll may be called while others store.
func TestFlushAllBesideOtherOperations(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 8 << 20, Shards: 4})
	var all sync.WaitGroup
	for g := range 3 {
		all.Go(func() {
			for i := range 3000 {
				key := fmt.Sprint(g, "-", i%500)
				if err := put(s, key, store.Meta{}, keyed(key, 10000)); err != nil {
					t.Error(err)
				}
				if v, ok := get(s, key); ok && string(v[:len(key)]) != key {
					t.Errorf("the value of %s is %s", key, v[:len(key)])
				}
				if i%100 == 0 {
					s.FlushAll(0)
				}
			}
		})
	}
	all.Wait()
	check(t, s)
}
