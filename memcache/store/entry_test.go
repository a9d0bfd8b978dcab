package store_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/memcache/store"
)

func TestAnEntryIsWhatWasPut(t *testing.T) {
	s, clock := open(t, store.Config{})
	for _, n := range []int{0, 1, 100, store.LargeMin - 1, store.LargeMin, 500000} {
		m := store.Meta{Flags: 7, Expires: 2000, CAS: s.NextCAS(), Bits: 0xa5}
		must(t, put(s, "key", m, keyed("value", n+5)[:n]))
		clock.second.Add(1)
		e := s.Lock([]byte("key"))
		equal(t, "found", e.Found(), true)
		equal(t, "meta", e.Meta(), m)
		equal(t, "value as put", bytes.Equal(e.Value(), keyed("value", n+5)[:n]), true)
		v := e.Borrow()
		equal(t, "borrowed", v != nil, n >= store.LargeMin)
		if v != nil {
			equal(t, "the value borrowed is the value", bytes.Equal(v.Bytes(), e.Value()), true)
			v.Return()
		}
		equal(t, "fetched", e.Fetched(), false)
		equal(t, "last access", e.LastAccess(), clock.now()-1)
		e.Use()
		equal(t, "fetched", e.Fetched(), true)
		equal(t, "last access", e.LastAccess(), clock.now())
		if size := e.Size(); size < n+3+store.HeadSize || size > n+n/4+100 {
			t.Errorf("a value of %d bytes takes %d", n, size)
		}
		e.Unlock()
	}
	check(t, s)
	equal(t, "items", s.Stats().Items, 1)
}

func TestAnEntryIsEmptyUntilPutAndAfterDelete(t *testing.T) {
	s, _ := open(t, store.Config{})
	e := s.Lock([]byte("key"))
	equal(t, "found", e.Found(), false)
	e.Delete()
	must(t, e.Put(store.Meta{}, []byte("value")))
	equal(t, "found", e.Found(), true)
	e.Delete()
	equal(t, "found", e.Found(), false)
	must(t, e.Put(store.Meta{}))
	equal(t, "length", len(e.Value()), 0)
	e.Unlock()
	check(t, s)
}

// The values of one Put may be parts of the old one, in any order.
func TestPutJoinsValuesAndTheOldOne(t *testing.T) {
	s, _ := open(t, store.Config{})
	for _, n := range []int{6, 5000, 300000} {
		e := s.Lock([]byte("key"))
		old := keyed("<", n)
		must(t, e.Put(store.Meta{}, old))
		must(t, e.Put(store.Meta{}, e.Value(), []byte("tail")))
		must(t, e.Put(store.Meta{}, []byte("head"), e.Value()))
		equal(t, "joined", string(e.Value()) == "head"+string(old)+"tail", true)
		must(t, e.Put(store.Meta{}, e.Value()[4:8], e.Value()[:4], e.Value()[2:2]))
		equal(t, "value", string(e.Value()), string(old[:4])+"head")
		must(t, e.Put(store.Meta{}, e.Value()[4:]))
		equal(t, "value", string(e.Value()), "head")
		e.Unlock()
		check(t, s)
	}
}

func TestOverwriteKeepsTheRest(t *testing.T) {
	s, clock := open(t, store.Config{})
	m := store.Meta{Flags: 1, CAS: 2, Bits: 3}
	must(t, put(s, "key", m, []byte("9")))
	clock.second.Add(5)
	e := s.Lock([]byte("key"))
	equal(t, "longer", e.Overwrite([]byte("10")), false)
	equal(t, "same", e.Overwrite([]byte("8")), true)
	equal(t, "value", string(e.Value()), "8")
	equal(t, "meta", e.Meta(), m)
	equal(t, "last access", e.LastAccess(), clock.now()-5)
	must(t, e.Put(m, make([]byte, store.LargeMin)))
	equal(t, "shared", e.Overwrite(make([]byte, store.LargeMin)), false)
	e.Unlock()
}

func TestTooLargeLeavesWhatThereWas(t *testing.T) {
	s, _ := open(t, store.Config{MaxItem: 1000})
	must(t, put(s, "key", store.Meta{}, []byte("old")))
	if err := put(s, "key", store.Meta{}, make([]byte, 1000-3-store.HeadSize+1)); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a byte too many: %v", err)
	}
	got, _ := get(s, "key")
	equal(t, "value", string(got), "old")
	must(t, put(s, "key", store.Meta{}, make([]byte, 1000-3-store.HeadSize)))
	if err := put(s, strings.Repeat("k", 256), store.Meta{}, nil); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("key of 256 bytes: %v", err)
	}
	must(t, put(s, strings.Repeat("k", 255), store.Meta{}, nil))
	must(t, put(s, "", store.Meta{}, nil))
	equal(t, "found the empty key", has(s, ""), true)
	check(t, s)
}

// A large value is the same for whoever has borrowed it, whatever becomes of the item.
func TestABorrowedValueNeverChanges(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 2 << 20})
	want := keyed("first", store.LargeMin)
	must(t, put(s, "key", store.Meta{}, want))
	e := s.Lock([]byte("key"))
	borrowed := e.Borrow()
	e.Unlock()
	must(t, put(s, "key", store.Meta{}, keyed("second", store.LargeMin)))
	for i := range 100 {
		must(t, put(s, string(rune('a'+i)), store.Meta{}, make([]byte, 100000)))
	}
	s.FlushAll(0)
	if !bytes.Equal(borrowed.Bytes(), want) {
		t.Error("a borrowed value has changed")
	}
	borrowed.Return()
}

// PutLarge takes a large value as it is, without what is behind the n bytes.
func TestPutLargeDoesNotCopy(t *testing.T) {
	s, _ := open(t, store.Config{})
	for _, n := range []int{store.LargeMin, 100_000, 500_000, store.LargeMin - 1} {
		v := store.NewLarge(n + 2)
		v.Append(make([]byte, n))
		v.Append([]byte("\r\n"))
		e := s.Lock([]byte("key"))
		must(t, e.PutLarge(store.Meta{}, v, n))
		equal(t, "length", len(e.Value()), n)
		equal(t, "taken over", unsafe.SliceData(e.Value()) == unsafe.SliceData(v.Bytes()), n >= store.LargeMin)
		e.Unlock()
		v.Return()
		check(t, s)
	}
}

// What is given back is used again, and not while anybody has it.
func TestLargeValuesAreUsedAgain(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 16 << 20, Shards: 1, MaxItem: 3 << 20})
	seen := map[*byte]bool{}
	used := 0
	for i := range 200 {
		v := store.NewLarge(1<<20 + i)
		if v.Len() != 0 || v.Cap() < 1<<20+i || v.Cap() > (1<<20+i)*17/16 {
			t.Fatalf("%d bytes, room for %d of %d", v.Len(), v.Cap(), 1<<20+i)
		}
		v.Append(keyed("key", 1<<20))
		first := unsafe.SliceData(v.Bytes())
		if seen[first] {
			used++
		}
		seen[first] = true
		e := s.Lock([]byte("key"))
		must(t, e.PutLarge(store.Meta{}, v, 1<<20))
		e.Unlock()
		v.Return()
		e = s.Lock([]byte("key"))
		equal(t, "begins with", string(e.Value()[:3]), "key")
		e.Unlock()
	}
	if used < 100 && !leaktest.Raced() { // the detector has pools forget at random
		t.Errorf("%d of 200 values had memory that was used before", used)
	}
}

func TestNextCASRises(t *testing.T) {
	s, _ := open(t, store.Config{})
	for want := uint64(1); want < 10; want++ {
		equal(t, "number", s.NextCAS(), want)
	}
}

// A time that the store cannot count to is never.
func TestExpiresPastTheLastSecondIsNever(t *testing.T) {
	s, clock := open(t, store.Config{})
	must(t, put(s, "key", store.Meta{Expires: 1 << 32}, nil))
	clock.second.Store(1<<32 - 1)
	e := s.Lock([]byte("key"))
	defer e.Unlock()
	equal(t, "found", e.Found(), true)
	equal(t, "expires", e.Meta().Expires, 0)
}

// What asks an item that is not there is a mistake in the program.
func TestAnEmptyEntryHasNoValue(t *testing.T) {
	s, _ := open(t, store.Config{})
	e := s.Lock([]byte("key"))
	defer e.Unlock()
	defer func() {
		if recover() == nil {
			t.Error("Value of an empty entry does not panic")
		}
	}()
	e.Value()
}

// Keep is a use for eviction and LastAccess, not for Fetched.
func TestKeepIsNoFetch(t *testing.T) {
	s, clock := open(t, store.Config{Memory: 2 << 20, Shards: 1})
	must(t, put(s, "kept", store.Meta{}, []byte("v")))
	must(t, put(s, "not kept", store.Meta{}, []byte("v")))
	clock.second.Add(7)
	e := s.Lock([]byte("kept"))
	e.Keep()
	equal(t, "fetched", e.Fetched(), false)
	equal(t, "last access", e.LastAccess(), clock.now())
	e.Unlock()
	fill(t, s, "new", 60000)
	equal(t, "found", has(s, "kept"), true)
	equal(t, "found the other", has(s, "not kept"), false)
}
