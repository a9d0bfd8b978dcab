package store_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

func TestAnEntryHasWhatWasPut(t *testing.T) {
	s, clock := open(t, store.Config{})
	for _, n := range []int{0, 1, 100, store.LargeMin - 1, store.LargeMin, 500000} {
		m := store.Meta{Flags: 7, Expires: 2000, CAS: s.NextCAS(), Bits: 0xa5}
		testkit.Must(t, put(s, "key", m, keyed("value", n+5)[:n]))
		clock.second.Add(1)
		e := s.Lock([]byte("key"))
		equal(t, "found", e.Found(), true)
		equal(t, "meta", e.Meta(), m)
		equal(t, "value as put", bytes.Equal(e.Value(), keyed("value", n+5)[:n]), true)
		equal(t, "length", e.Len(), n)
		v := e.Borrow(nil)
		equal(t, "borrowed", v != nil, n >= store.LargeMin)
		if v != nil {
			equal(t, "what is borrowed, and the tail, are the value", bytes.Equal(append(bytes.Join(v.Parts(), nil), e.Tail()...), e.Value()), true)
			v.Return(len(v.Parts()))
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
	testkit.Must(t, e.Put(store.Meta{}, []byte("value")))
	equal(t, "found", e.Found(), true)
	e.Delete()
	equal(t, "found", e.Found(), false)
	testkit.Must(t, e.Put(store.Meta{}))
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
		testkit.Must(t, e.Put(store.Meta{}, old))
		testkit.Must(t, e.Put(store.Meta{}, append(e.AppendParts(nil), []byte("tail"))...))
		testkit.Must(t, e.Put(store.Meta{}, append([][]byte{[]byte("head")}, e.AppendParts(nil)...)...))
		equal(t, "joined", string(e.Value()) == "head"+string(old)+"tail", true)
		testkit.Must(t, e.Put(store.Meta{}, e.Value()[4:8], e.Value()[:4], e.Value()[2:2]))
		equal(t, "value", string(e.Value()), string(old[:4])+"head")
		testkit.Must(t, e.Put(store.Meta{}, e.Value()[4:]))
		equal(t, "value", string(e.Value()), "head")
		e.Unlock()
		check(t, s)
	}
}

func TestOverwriteKeepsTheRest(t *testing.T) {
	s, clock := open(t, store.Config{})
	m := store.Meta{Flags: 1, CAS: 2, Bits: 3}
	testkit.Must(t, put(s, "key", m, []byte("9")))
	clock.second.Add(5)
	e := s.Lock([]byte("key"))
	equal(t, "longer", e.Overwrite([]byte("10")), false)
	equal(t, "same", e.Overwrite([]byte("8")), true)
	equal(t, "value", string(e.Value()), "8")
	equal(t, "meta", e.Meta(), m)
	equal(t, "last access", e.LastAccess(), clock.now()-5)
	testkit.Must(t, e.Put(m, make([]byte, store.LargeMin)))
	equal(t, "shared", e.Overwrite(make([]byte, store.LargeMin)), false)
	e.Unlock()
}

func TestTooLargeLeavesTheOldItem(t *testing.T) {
	s, _ := open(t, store.Config{MaxItem: 1000})
	testkit.Must(t, put(s, "key", store.Meta{}, []byte("old")))
	if err := put(s, "key", store.Meta{}, make([]byte, 1000-3-store.HeadSize+1)); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a byte too many: %v", err)
	}
	got, _ := get(s, "key")
	equal(t, "value", string(got), "old")
	testkit.Must(t, put(s, "key", store.Meta{}, make([]byte, 1000-3-store.HeadSize)))
	if err := put(s, strings.Repeat("k", 256), store.Meta{}, nil); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("key of 256 bytes: %v", err)
	}
	testkit.Must(t, put(s, strings.Repeat("k", 255), store.Meta{}, nil))
	testkit.Must(t, put(s, "", store.Meta{}, nil))
	equal(t, "found the empty key", has(s, ""), true)
	check(t, s)
}

// TestABorrowedValueNeverChanges when the item is replaced, moved or removed.
func TestABorrowedValueNeverChanges(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 2 << 20, Shards: 1})
	want := keyed("first", 3*store.PageBytes)
	testkit.Must(t, put(s, "key", store.Meta{}, want))
	e := s.Lock([]byte("key"))
	borrowed := e.Borrow(nil)
	e.Unlock()
	testkit.Must(t, put(s, "key", store.Meta{}, keyed("second", store.LargeMin)))
	for i := range 100 {
		testkit.Must(t, put(s, string(rune('a'+i)), store.Meta{}, make([]byte, 100000)))
	}
	s.FlushAll(0)
	if !bytes.Equal(bytes.Join(borrowed.Parts(), nil), want) {
		t.Error("a borrowed value has changed")
	}
	borrowed.Return(len(borrowed.Parts()))
	check(t, s)
}

// TestAReceivedValueIsNotCopied, except its tail. The pages after the bytes that are stored are freed.
func TestAReceivedValueIsNotCopied(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 8 << 20, Shards: 1})
	for _, n := range []int{store.LargeMin, 6 * store.PageBytes, 100_000, 500_000, store.LargeMin - 1} {
		want := keyed("value", n)
		v, err := receive(s, "key", append(bytes.Clone(want), "\r\n"...), 30_001)
		testkit.Must(t, err)
		equal(t, "ends with a line's end", v.HasSuffix("\r\n"), true)
		equal(t, "ends with another one", v.HasSuffix("\n\n"), false)
		first := unsafe.SliceData(v.AppendParts(nil, n)[0])
		e := s.Lock([]byte("key"))
		testkit.Must(t, e.PutLarge(store.Meta{}, v, n))
		equal(t, "the value", bytes.Equal(e.Value(), want), true)
		equal(t, "taken over", unsafe.SliceData(e.AppendParts(nil)[0]) == first, n >= store.LargeMin)
		e.Unlock()
		v.Free()
		check(t, s)
		if st := s.Stats(); st.Coming != 0 || st.Large != int64(n/store.PageBytes*store.PageBytes) || st.Held != 0 {
			t.Errorf("%d bytes of pages for a value of %d, %d are coming", st.Large, n, st.Coming)
		}
	}
}

func TestNextCASRises(t *testing.T) {
	s, _ := open(t, store.Config{})
	for want := uint64(1); want < 10; want++ {
		equal(t, "number", s.NextCAS(), want)
	}
}

// An expiry time that the store cannot represent is never.
func TestExpiresPastTheLastSecondIsNever(t *testing.T) {
	s, clock := open(t, store.Config{})
	testkit.Must(t, put(s, "key", store.Meta{Expires: 1 << 32}, nil))
	clock.second.Store(1<<32 - 1)
	e := s.Lock([]byte("key"))
	defer e.Unlock()
	equal(t, "found", e.Found(), true)
	equal(t, "expires", e.Meta().Expires, 0)
}

// Methods that need an item panic without one, since this is a fault of the program.
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
func TestKeepDoesNotCountAsAFetch(t *testing.T) {
	s, clock := open(t, store.Config{Memory: 2 << 20, Shards: 1})
	testkit.Must(t, put(s, "kept", store.Meta{}, []byte("v")))
	testkit.Must(t, put(s, "not kept", store.Meta{}, []byte("v")))
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
