package store_test

import (
	"bytes"
	"flag"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/memcache/recycled"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

func TestMain(m *testing.M) {
	recycled.Scribble()
	// A check of the model fills stores, and takes its time.
	checks := "30"
	if leaktest.Raced() {
		checks = "3"
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}

// receive receives a value for a key in pieces of at most n bytes.
func receive(s *store.Store, key string, value []byte, n int) (*store.Incoming, error) {
	v := s.Receive([]byte(key), len(value), nil)
	for len(value) > 0 {
		p := value[:min(n, len(value))]
		if err := v.Grow(len(p)); err != nil {
			v.Free()
			return nil, err
		}
		if room := v.Room(); len(p)%2 == 1 && len(room) > 0 { // as what is read into its place
			p = room[:copy(room, p)]
		}
		v.Append(p)
		value = value[len(p):]
	}
	return v, nil
}

// putLarge stores a value that was received in pieces.
func putLarge(s *store.Store, key string, m store.Meta, value []byte) error {
	v, err := receive(s, key, value, 1+len(value)/3)
	if err != nil {
		return err
	}
	defer v.Free()
	e := s.Lock([]byte(key))
	defer e.Unlock()
	return e.PutLarge(m, v, len(value))
}

// skipIfRaced skips long tests with one goroutine under the race detector.
func skipIfRaced(t *testing.T) {
	t.Helper()
	if leaktest.Raced() {
		t.Skip("one goroutine shows no races")
	}
}

// clock is a clock that the test sets.
type clock struct{ second atomic.Int64 }

func (c *clock) now() int64 { return c.second.Load() }

// open makes a store whose clock begins at 1000.
func open(t testing.TB, c store.Config) (*store.Store, *clock) {
	t.Helper()
	return openAt(t, c, 1000)
}

// openAt is open with a clock that begins at a second.
func openAt(t testing.TB, c store.Config, second int64) (*store.Store, *clock) {
	t.Helper()
	k := &clock{}
	k.second.Store(second)
	c.Now = k.now
	s, err := store.New(c)
	testkit.Must(t, err)
	return s, k
}

// equal checks that got equals want.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// check checks the structure of the store.
func check(t testing.TB, s *store.Store) {
	t.Helper()
	testkit.Must(t, s.Check())
}

// put stores a value.
func put(s *store.Store, key string, m store.Meta, value []byte) error {
	e := s.Lock([]byte(key))
	defer e.Unlock()
	return e.Put(m, value)
}

// get uses an item, and returns a copy of its value.
func get(s *store.Store, key string) ([]byte, bool) {
	e := s.Lock([]byte(key))
	defer e.Unlock()
	if !e.Found() {
		return nil, false
	}
	e.Use()
	return bytes.Clone(e.Value()), true
}

// has says whether there is an item, and does not use it.
func has(s *store.Store, key string) bool {
	e := s.Lock([]byte(key))
	defer e.Unlock()
	return e.Found()
}

// keyed is a value that is the key's own.
func keyed(key string, n int) []byte {
	v := bytes.Repeat([]byte{'.'}, n)
	copy(v, key)
	return v
}
