package store

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// TestAPanicUnderTheLockDropsOneShardsItems, and the shard continues unlocked. The test damages the structure, as only a fault of the store could,
// before each kind of operation.
func TestAPanicUnderTheLockDropsOneShardsItems(t *testing.T) {
	now := int64(1000)
	for name, op := range faultyOperations(&now) {
		t.Run(name, func(t *testing.T) {
			now = 1000
			s, err := New(Config{Memory: 4 << 20, Shards: 1, Now: func() int64 { return now }})
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"key", "other"} {
				e := s.Lock([]byte(key))
				if err := e.Put(Meta{Expires: 5000}, make([]byte, 20_000)); err != nil {
					t.Fatal(err)
				}
				e.Unlock()
			}
			panicUnderTheLock(t, s, op)
			for range 2 {
				e := s.Lock([]byte("key"))
				if err := e.Put(Meta{}, []byte("v")); err != nil {
					t.Error(err)
				}
				e.Unlock()
				if err := s.Check(); err != nil {
					t.Error(err)
				}
			}
			if want := map[bool]int64{true: 2, false: 1}[name == "the user"]; s.Stats().Items != want {
				t.Errorf("%d items, want %d", s.Stats().Items, want)
			}
		})
	}
}

// faultyOperations returns operations on the entry of "key" that panic, because of a fault in its shard or of their own.
func faultyOperations(now *int64) map[string]func(s *Store, e *Entry) {
	return map[string]func(s *Store, e *Entry){
		"Lock": func(s *Store, e *Entry) {
			e.Unlock()
			s.shards[0].index.segments = nil
			s.Lock([]byte("key"))
		},
		"Put": func(s *Store, e *Entry) {
			s.shards[0].slots = nil
			_ = e.Put(Meta{}, make([]byte, 1000))
		},
		"PutLarge": func(s *Store, e *Entry) {
			s.shards[0].slots = nil
			_ = e.Put(Meta{}, make([]byte, 100_000))
		},
		"SetMeta": func(s *Store, e *Entry) {
			s.shards[0].wheel.first[0][1003%slots] = 1 << 30
			e.SetMeta(Meta{Expires: 1003})
		},
		"Delete": func(s *Store, e *Entry) {
			s.shards[0].index.segments = nil
			e.Delete()
		},
		"Unlock": func(s *Store, e *Entry) {
			e.SetMeta(Meta{Expires: 1})
			s.shards[0].wheel.first[0][1000%slots] = 1 << 30
		},
		"Stats": func(s *Store, e *Entry) {
			e.Unlock()
			s.shards[0].slots = nil
			s.Stats()
		},
		"Reap": func(s *Store, e *Entry) {
			e.SetMeta(Meta{Expires: 1})
			e.Unlock()
			s.shards[0].slots = nil
			s.Reap(10)
		},
		"FlushAll": func(s *Store, e *Entry) {
			e.Unlock()
			s.FlushAll(0)
			*now++
			s.shards[0].slots = nil
			s.Reap(10)
		},
		"the user": func(*Store, *Entry) { panic("between Lock and Unlock") },
	}
}

// panicUnderTheLock carries out an operation that panics, and checks that the shard is unlocked.
func panicUnderTheLock(t *testing.T, s *Store, op func(s *Store, e *Entry)) {
	t.Helper()
	if !panics(func() {
		e := s.Lock([]byte("key"))
		defer func() {
			if e.shard != nil {
				e.Unlock()
			}
		}()
		op(s, &e)
	}) {
		t.Error("nothing has panicked")
	}
	if !s.shards[0].mu.TryLock() {
		t.Fatal("the shard stays locked")
	}
	s.shards[0].mu.Unlock()
}

// TestAClockThatPanicsLeavesNothingLocked calls all methods afterwards.
func TestAClockThatPanicsLeavesNothingLocked(t *testing.T) {
	broken := false
	s, err := New(Config{Shards: 1, Now: func() int64 {
		if broken {
			panic("no time")
		}
		return 1000
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, op := range map[string]func(){
		"Lock": func() { s.Lock([]byte("key")) }, "FlushAll": func() { s.FlushAll(0) }, "FlushThrough": func() { s.FlushThrough(2000) },
		"Reap": func() { s.Reap(1) }, "Stats": func() { s.Stats() }, "Classes": func() { s.Classes() },
		"SetMemory": func() { _ = s.SetMemory(8 << 20) },
		"All":       func() { s.All(func(Listed) bool { return true }) },
	} {
		broken = true
		if !panics(op) {
			t.Errorf("%s does not ask the clock", name)
		}
		broken = false
		if !s.shards[0].mu.TryLock() {
			t.Fatalf("%s leaves the shard locked", name)
		}
		s.shards[0].mu.Unlock()
	}
}

// TestLeasesAndIncomingValuesSurviveAPanic: they keep their memory, which the new content does not use, and can be returned.
func TestLeasesAndIncomingValuesSurviveAPanic(t *testing.T) {
	s, err := New(Config{Memory: 4 << 20, Shards: 1, Now: func() int64 { return 1000 }})
	if err != nil {
		t.Fatal(err)
	}
	sh := &s.shards[0]
	value := bytes.Repeat([]byte("v"), 50_000)
	e := s.Lock([]byte("key"))
	if err := e.Put(Meta{}, value); err != nil {
		t.Fatal(err)
	}
	lease := e.Borrow(nil)
	e.Unlock()
	coming, late := s.Receive([]byte("coming"), 500_000, nil), s.Receive([]byte("late"), 50_000, nil)
	for _, v := range []*Incoming{coming, late} {
		if err := v.Grow(20_000); err != nil {
			t.Fatal(err)
		}
		v.Append(value[:20_000])
	}
	called := make(chan bool, 1)
	s.Wait([]byte("key"), sh.returns, func() { called <- true })
	sh.slots[1].data = nil
	sh.index.segments = nil
	if !panics(func() { s.Lock([]byte("key")) }) {
		t.Error("nothing has panicked")
	}
	<-called // a request that waits for memory can be tried again
	for i := range 1000 {
		e := s.Lock(fmt.Append(nil, i))
		if err := e.Put(Meta{}, bytes.Repeat([]byte("n"), 30_000)); err != nil {
			t.Fatal(err)
		}
		e.Unlock()
	}
	if n := len(bytes.Join(lease.Parts(), nil)); n != lease.Len() || bytes.ContainsAny(bytes.Join(lease.Parts(), nil), "n") {
		t.Errorf("the %d bytes that are lent have changed", n)
	}
	if err := coming.Grow(300_000); !errors.Is(err, ErrNoMemory) {
		t.Errorf("a value that was being received continues: %v", err)
	}
	e = s.Lock([]byte("late"))
	if err := e.PutLarge(Meta{}, late, 20_000); err != nil || !bytes.Equal(e.Value(), value[:20_000]) {
		t.Errorf("a value that had come is not stored: %v", err)
	}
	e.Unlock()
	lease.Return(len(lease.Parts()))
	coming.Free()
	late.Free()
	if st := s.Stats(); st.Held != 0 || st.Coming != 0 || st.Lent != 0 || sh.leases.oldest != nil {
		t.Errorf("%+v", st)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// panics reports whether fn panics.
func panics(fn func()) (did bool) {
	defer func() { did = recover() != nil }()
	fn()
	return
}
