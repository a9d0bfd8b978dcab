package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
)

// FuzzStore executes operations, each encoded in four bytes: the kind, the key, the length. Values must be those that were put, and the limit and the
// structure must be intact.
func FuzzStore(f *testing.F) {
	f.Add([]byte{0, 1, 0, 50, 1, 1, 0, 0, 2, 1, 0, 60, 5, 1, 0, 0})
	f.Add(bytes.Repeat([]byte{0, 7, 40, 0, 0, 9, 3, 1, 3, 7, 90, 0}, 60))
	f.Add(bytes.Repeat([]byte{4, 1, 0, 9, 0, 2, 31, 255, 0, 3, 32, 0, 6, 0, 0, 5, 7, 0, 0, 30}, 40))
	f.Add(bytes.Repeat([]byte{7, 0, 1, 1, 0, 2, 1, 255, 3, 3, 32, 0, 6, 0, 0, 1, 4, 7, 0, 0}, 40))
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 2<<10 {
			program = program[:2<<10]
		}
		s, clock := open(t, store.Config{Memory: store.MinMemory, MaxItem: store.MinMemory})
		for i := 0; i+4 <= len(program); i += 4 {
			step(t, s, clock, [4]byte(program[i:i+4]))
			if st := s.Stats(); st.Memory > st.Limit {
				t.Fatalf("step %d: %d bytes of memory, the limit is %d", i/4, st.Memory, st.Limit)
			}
		}
		check(t, s)
	})
}

func step(t *testing.T, s *store.Store, clock *clock, code [4]byte) {
	key := fmt.Sprintf("%0*d", 3+int(code[1]%5)*20, code[1])
	n := int(code[2])<<8 | int(code[3])
	e := s.Lock([]byte(key))
	if e.Found() {
		if v := e.Value(); !bytes.Equal(v, bytes.Repeat([]byte{code[1]}, len(v))) {
			t.Fatalf("the value of %s has other bytes than were put", key)
		}
	}
	v := bytes.Repeat([]byte{code[1]}, n)
	var err error
	if code[0]%10 == 3 {
		e.Unlock()
		err = putLarge(s, key, store.Meta{Expires: clock.now() + int64(n)}, v)
		e = s.Lock([]byte(key))
	}
	switch code[0] % 10 {
	case 0, 8, 9:
		err = e.Put(store.Meta{}, v)
	case 1:
		if e.Found() {
			e.Use()
		}
	case 2:
		if e.Found() {
			err = e.Put(store.Meta{}, v, e.Value(), v, v, v, v)
		}
	case 4:
		err = e.Put(store.Meta{Expires: clock.now() + int64(code[3])}, v[:n/100])
	case 5:
		e.Delete()
	case 6:
		e.Unlock()
		clock.second.Add(int64(n))
		return
	case 7:
		e.Unlock()
		s.Reap(n)
		if code[3] == 0 {
			s.FlushAll(clock.now() + int64(code[2]))
		}
		if code[3] == 1 {
			s.FlushThrough(clock.now() + int64(code[2]) - 1)
		}
		return
	}
	if err != nil && !errors.Is(err, store.ErrNoMemory) && !errors.Is(err, store.ErrTooLarge) {
		t.Fatal(err)
	}
	if e.Found() {
		e.Use()
		e.SetMeta(store.Meta{Expires: e.Meta().Expires, Flags: uint32(n)})
		if err == nil && code[0]%10 <= 4 && e.Meta().Flags != uint32(n) {
			t.Fatalf("the meta of %s is not what was set", key)
		}
	}
	e.Unlock()
}
