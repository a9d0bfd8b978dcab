package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
	"pgregory.net/rapid"
)

// known is an item of the model.
type known struct {
	value   []byte
	meta    store.Meta
	access  int64
	fetched bool
}

// model does what a store must do, except eviction: only items that the store has evicted may be missing.
type model struct {
	*store.Store
	clock          *clock
	items          map[string]known
	flushAt        int64
	flushedThrough int64 // the last second of a flush; 0: none
	noEvict        bool
	memory         int64
	shrunk         bool // the memory has become less while some was held

	lent   []lent
	coming []coming
}

// lent is a lease and its expected content.
type lent struct {
	*store.Lease
	want []byte
}

// coming is a value that has been received in part.
type coming struct {
	*store.Incoming
	key  string
	want []byte
}

// live removes expired and flushed items.
func (m *model) live() {
	now := m.clock.now()
	if m.flushAt != 0 && m.flushAt <= now {
		clear(m.items)
		m.flushAt = 0
	}
	if m.flushedThrough != 0 && m.flushedThrough <= now {
		clear(m.items)
	}
	if m.flushedThrough < now {
		m.flushedThrough = 0
	}
	for key, it := range m.items {
		if it.meta.Expires < 0 || it.meta.Expires > 0 && it.meta.Expires <= now {
			delete(m.items, key)
		}
	}
}

// lock locks a key and compares the item with the expected one.
func (m *model) lock(t *rapid.T, key string) (store.Entry, bool) {
	m.live()
	e := m.Lock([]byte(key))
	want, ok := m.items[key]
	if !e.Found() {
		if ok && m.noEvict {
			t.Fatalf("%q is missing in a store without eviction", key)
		}
		delete(m.items, key)
		return e, false
	}
	if !ok {
		t.Fatalf("%q exists and should not", key)
	}
	got := known{e.Value(), e.Meta(), e.LastAccess(), e.Fetched()}
	if !bytes.Equal(got.value, want.value) || got.meta != want.meta || got.access != want.access || got.fetched != want.fetched {
		t.Fatalf("%q is %d bytes %+v, %d, %v; want %d bytes %+v, %d, %v", key, len(got.value), got.meta, got.access, got.fetched,
			len(want.value), want.meta, want.access, want.fetched)
	}
	v := e.Borrow(nil)
	if v != nil {
		if got := append(bytes.Join(v.Parts(), nil), e.Tail()...); !bytes.Equal(got, want.value) {
			t.Fatalf("what is lent of %q is %d bytes, not the value of %d", key, len(got), len(want.value))
		}
		v.Return(len(v.Parts()))
	}
	if (v != nil) != (len(want.value) >= store.LargeMin) || e.Size() < store.HeadSize+len(key) {
		t.Fatalf("%q of %d bytes takes %d, large %v", key, len(want.value), e.Size(), v != nil)
	}
	return e, true
}

var (
	keys = rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("%0*d", 1+rapid.IntRange(0, 3).Draw(t, "length")*40, rapid.IntRange(0, 3000).Draw(t, "key"))
	})
	lengths = rapid.OneOf(rapid.IntRange(0, 200), rapid.IntRange(0, 9000), rapid.IntRange(store.LargeMin-2, 200000))
)

// value draws a value.
func value(t *rapid.T) []byte {
	return varied(rapid.Uint64Range(0, 1<<20).Draw(t, "seed"), lengths.Draw(t, "length"))
}

// varied returns n bytes in which no part equals another part, or a part for another seed.
func varied(seed uint64, n int) []byte {
	p := make([]byte, 0, n+8)
	for i := uint64(0); len(p) < n; i++ {
		p = binary.LittleEndian.AppendUint64(p, (seed<<32+i)*0x9e3779b97f4a7c15)
	}
	return p[:n]
}

// meta draws a Meta whose item expires soon, late, never or at once.
func (m *model) meta(t *rapid.T) store.Meta {
	now := m.clock.now()
	expires := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(now+1, now+100), rapid.Int64Range(now+1, now+100000),
		rapid.Int64Range(now-1, now)).Draw(t, "expires")
	return store.Meta{Flags: rapid.Uint32().Draw(t, "flags"), Expires: expires, CAS: m.NextCAS(), Bits: rapid.Byte().Draw(t, "bits")}
}

// stored records the result of a Put. e is its entry, unless that is unlocked.
func (m *model) stored(t *rapid.T, e *store.Entry, key string, meta store.Meta, value []byte, err error) {
	switch {
	case err == nil:
		if e != nil && (!e.Found() || !bytes.Equal(e.Value(), value) || e.Meta().CAS != meta.CAS) {
			t.Fatalf("%q is not there when it has been stored with %+v", key, meta)
		}
		m.items[key] = known{value, meta, m.clock.now(), false}
	case errors.Is(err, store.ErrNoMemory) && (m.noEvict || len(m.lent)+len(m.coming) > 0):
	default:
		t.Fatalf("Put of %d bytes: %v", len(value), err)
	}
}

func (m *model) Put(t *rapid.T) {
	key, v := keys.Draw(t, "key"), value(t)
	e, _ := m.lock(t, key)
	defer e.Unlock()
	meta := m.meta(t)
	m.stored(t, &e, key, meta, v, e.Put(meta, v))
}

func (m *model) PutLarge(t *rapid.T) {
	key, v := keys.Draw(t, "key"), value(t)
	e, _ := m.lock(t, key)
	e.Unlock()
	meta := m.meta(t)
	m.stored(t, nil, key, meta, v, putLarge(m.Store, key, meta, v))
}

// Cut puts parts of the old value.
func (m *model) Cut(t *rapid.T) {
	key := keys.Draw(t, "key")
	e, ok := m.lock(t, key)
	defer e.Unlock()
	if !ok {
		return
	}
	var parts [][]byte
	for _, p := range e.AppendParts(nil) {
		from := rapid.IntRange(0, len(p)).Draw(t, "from")
		parts = append(parts, p[from:rapid.IntRange(from, len(p)).Draw(t, "to")])
	}
	slices.Reverse(parts)
	want, meta := bytes.Join(parts, nil), m.meta(t)
	m.stored(t, &e, key, meta, want, e.Put(meta, parts...))
}

func (m *model) Borrow(t *rapid.T) {
	key := keys.Draw(t, "key")
	e, ok := m.lock(t, key)
	defer e.Unlock()
	if !ok || len(m.lent) > 10 {
		return
	}
	if l := e.Borrow(key); l != nil {
		m.lent = append(m.lent, lent{l, m.items[key].value[:l.Len()]})
	}
}

// Return returns a part of a lease, or all parts, whose content must be unchanged.
func (m *model) Return(t *rapid.T) {
	if len(m.lent) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.lent)-1).Draw(t, "lease")
	if !bytes.Equal(bytes.Join(m.lent[i].Parts(), nil), m.lent[i].want) {
		t.Fatalf("a lease of %d bytes has changed", len(m.lent[i].want))
	}
	m.lent[i].Return(len(m.lent[i].Parts()))
	m.lent = slices.Delete(m.lent, i, i+1)
}

// Receive begins a value.
func (m *model) Receive(t *rapid.T) {
	if len(m.coming) < 5 {
		key, v := keys.Draw(t, "key"), value(t)
		m.coming = append(m.coming, coming{m.Store.Receive([]byte(key), len(v), nil), key, v})
	}
}

// Come receives more of a value, and stores it if it is complete.
func (m *model) Come(t *rapid.T) {
	if len(m.coming) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.coming)-1).Draw(t, "value")
	v := m.coming[i]
	n := rapid.IntRange(0, len(v.want)-v.Len()).Draw(t, "bytes")
	if err := v.Grow(n); err != nil {
		if !errors.Is(err, store.ErrNoMemory) {
			t.Fatal(err)
		}
		return
	}
	v.Append(v.want[v.Len():][:n])
	if v.Len() < len(v.want) && n > 0 {
		return
	}
	if v.Len() == len(v.want) {
		e, _ := m.lock(t, v.key)
		meta := m.meta(t)
		m.stored(t, &e, v.key, meta, v.want, e.PutLarge(meta, v.Incoming, len(v.want)))
		e.Unlock()
	}
	v.Free()
	m.coming = slices.Delete(m.coming, i, i+1)
}

func (m *model) Append(t *rapid.T) {
	key, v := keys.Draw(t, "key"), value(t)
	e, ok := m.lock(t, key)
	defer e.Unlock()
	if !ok || len(v)+len(m.items[key].value) > 200000 {
		return
	}
	meta := m.meta(t)
	old := m.items[key].value
	if rapid.Bool().Draw(t, "prepend") {
		m.stored(t, &e, key, meta, append(bytes.Clone(v), old...), e.Put(meta, append([][]byte{v}, e.AppendParts(nil)...)...))
	} else {
		m.stored(t, &e, key, meta, append(bytes.Clone(old), v...), e.Put(meta, append(e.AppendParts(nil), v)...))
	}
}

// Burst puts many items of about one size, to fill the store.
func (m *model) Burst(t *rapid.T) {
	random := rand.New(rand.NewPCG(rapid.Uint64Range(0, 1000).Draw(t, "seed"), 0))
	size := rapid.SampledFrom([]int{10, 100, 1000, store.LargeMin - 1, store.LargeMin * 2, 300000}).Draw(t, "size")
	now, expiring := m.clock.now(), rapid.Bool().Draw(t, "expiring")
	m.live()
	total := rapid.IntRange(0, 2<<20).Draw(t, "total")
	for total > 0 {
		key := fmt.Sprintf("%d", random.IntN(30000))
		v := varied(random.Uint64(), size/2+random.IntN(size/2))
		total -= len(v) + store.HeadSize
		meta := store.Meta{CAS: m.NextCAS()}
		if expiring {
			meta.Expires = now + 1 + int64(random.IntN(200))
		}
		e := m.Lock([]byte(key))
		if it, ok := m.items[key]; ok && e.Found() && random.IntN(2) == 0 {
			e.Use()
			it.access, it.fetched = now, true
			m.items[key] = it
		}
		m.stored(t, &e, key, meta, v, e.Put(meta, v))
		e.Unlock()
	}
}

func (m *model) Use(t *rapid.T) {
	key := keys.Draw(t, "key")
	e, ok := m.lock(t, key)
	defer e.Unlock()
	if ok {
		e.Use()
		it := m.items[key]
		it.access, it.fetched = m.clock.now(), true
		m.items[key] = it
	}
}

func (m *model) SetMeta(t *rapid.T) {
	key := keys.Draw(t, "key")
	e, ok := m.lock(t, key)
	defer e.Unlock()
	if ok {
		it := m.items[key]
		it.meta = m.meta(t)
		e.SetMeta(it.meta)
		m.items[key] = it
		if !e.Found() || !bytes.Equal(e.Value(), it.value) || e.Meta().CAS != it.meta.CAS {
			t.Fatalf("%q is not there after SetMeta to %d", key, it.meta.Expires)
		}
	}
}

func (m *model) Overwrite(t *rapid.T) {
	key := keys.Draw(t, "key")
	e, ok := m.lock(t, key)
	defer e.Unlock()
	if !ok {
		return
	}
	it := m.items[key]
	v := bytes.Repeat([]byte{'#'}, len(it.value)+rapid.IntRange(0, 1).Draw(t, "more"))
	if e.Overwrite(v) {
		it.value = v
		m.items[key] = it
	} else if len(v) == len(it.value) && len(v) < store.LargeMin {
		t.Fatalf("a value of %d bytes is not overwritten", len(v))
	}
}

func (m *model) Delete(t *rapid.T) {
	key := keys.Draw(t, "key")
	e, _ := m.lock(t, key)
	defer e.Unlock()
	e.Delete()
	delete(m.items, key)
}

func (m *model) Tick(t *rapid.T) {
	m.clock.second.Add(rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 5000)).Draw(t, "seconds"))
}

func (m *model) Reap(t *rapid.T) { m.Store.Reap(rapid.IntRange(0, 1000).Draw(t, "n")) }

func (m *model) FlushAll(t *rapid.T) {
	now := m.clock.now()
	at := now + rapid.Int64Range(-2, 30).Draw(t, "at")
	m.live()
	m.Store.FlushAll(at)
	m.flushAt, m.flushedThrough = at, 0
	if at <= now {
		clear(m.items)
		m.flushAt = 0
	}
}

func (m *model) FlushThrough(t *rapid.T) {
	last := m.clock.now() + rapid.OneOf(rapid.Int64Range(-2, 3), rapid.Int64Range(0, 30)).Draw(t, "last")
	m.live()
	m.Store.FlushThrough(last)
	if m.flushAt, m.flushedThrough = 0, 0; last >= m.clock.now() {
		m.flushAt, m.flushedThrough = last, last
	}
}

func (m *model) SetMemory(t *rapid.T) {
	if m.noEvict {
		return
	}
	m.memory = rapid.Int64Range(2<<20, 8<<20).Draw(t, "memory")
	m.shrunk = m.Stats().Held > 0
	testkit.Must(t, m.Store.SetMemory(m.memory))
}

func (m *model) All(t *rapid.T) {
	m.live()
	seen := make(map[string]bool)
	m.Store.All(func(it store.Listed) bool {
		key := string(it.Key)
		want, ok := m.items[key]
		if !ok || seen[key] || it.Meta != want.meta || it.LastAccess != want.access || it.Fetched != want.fetched ||
			it.Value != len(want.value) || it.Size < len(key)+len(want.value) {
			t.Fatalf("All has %+v", it)
		}
		seen[key] = true
		return true
	})
	for key := range m.items {
		if !seen[key] {
			if m.noEvict {
				t.Fatalf("All has no %q", key)
			}
			delete(m.items, key)
		}
	}
}

// check runs after each action.
func (m *model) check(t *rapid.T) {
	testkit.Must(t, m.Check())
	m.shrunk = m.shrunk && m.Stats().Held > 0
	if st := m.Stats(); st.Memory > m.memory && !m.shrunk || st.Limit != m.memory || st.Items < 0 {
		t.Fatalf("%d bytes of %d, limit %d, %d items", st.Memory, m.memory, st.Limit, st.Items)
	}
}

// A store behaves like a map with expiry, flushes and a limit.
func TestAStoreBehavesLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{items: make(map[string]known), clock: &clock{}, noEvict: rapid.IntRange(0, 3).Draw(t, "noEvict") == 3, memory: 3 << 20}
		m.clock.second.Store(1000)
		shards := rapid.SampledFrom([]int{1, 2}).Draw(t, "shards")
		var err error
		m.Store, err = store.New(store.Config{Memory: m.memory, Shards: shards, NoEvict: m.noEvict, Now: m.clock.now})
		testkit.Must(t, err)
		t.Repeat(map[string]func(*rapid.T){
			"": m.check, "put": m.Put, "put again": m.Put, "put more": m.Put, "own": m.PutLarge, "burst": m.Burst, "burst again": m.Burst, "burst more": m.Burst, "append": m.Append, "use": m.Use,
			"meta": m.SetMeta, "overwrite": m.Overwrite, "delete": m.Delete, "tick": m.Tick, "reap": m.Reap, "flush": func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "really") == 0 {
					m.FlushAll(t)
				}
			},
			"flush through": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
					m.FlushThrough(t)
				}
			},
			"memory": m.SetMemory, "all": m.All, "cut": m.Cut, "borrow": m.Borrow, "return": m.Return, "receive": m.Receive, "come": m.Come, "more comes": m.Come,
		})
		for _, l := range m.lent {
			l.Return(len(l.Parts()))
		}
		for _, v := range m.coming {
			v.Free()
		}
		m.lent, m.coming = nil, nil
		m.check(t)
		if st := m.Stats(); st.Held+st.Lent+st.Coming != 0 {
			t.Fatalf("%d bytes are held when all is returned", st.Held)
		}
	})
}
