package store_test

import (
	"errors"
	"testing"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// TestReceivingReportsValuesThatHaveMemoryAndDoNotWait, until they are stored or freed.
func TestReceivingReportsValuesThatHaveMemoryAndDoNotWait(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 2 << 20, Shards: 1})
	key := []byte("key")
	holders := func() (all []any) {
		for _, h := range s.Receiving(key, nil) {
			if all = append(all, h.Holder); h.Bytes < 40_000 {
				t.Errorf("%v has %d bytes", h.Holder, h.Bytes)
			}
		}
		equal(t, "of all shards", len(s.AllReceiving(nil)), len(all))
		return all
	}
	take := func(v *store.Incoming) {
		testkit.Must(t, v.Grow(40_000))
		v.Append(make([]byte, 40_000))
	}
	first, second := s.Receive(key, 40_000, "first"), s.Receive([]byte("other"), 4<<20, "second")
	equal(t, "before anything has come", len(holders()), 0)
	take(first)
	take(second)
	equal(t, "two", len(holders()), 2)

	var err error
	for err == nil {
		if err = second.Grow(40_000); err == nil {
			second.Append(make([]byte, 40_000))
		}
	}
	if !errors.Is(err, store.ErrReceived) || !errors.Is(err, store.ErrNoMemory) || errors.Is(err, store.ErrLent) {
		t.Errorf("a value that finds no room: %v", err)
	}
	equal(t, "beside the one that waits", len(holders()), 1)
	if _, err := s.Extend(key, 300_000); !errors.Is(err, store.ErrReceived) {
		t.Errorf("an extension that finds no room: %v", err)
	}

	e := s.Lock(key)
	testkit.Must(t, e.PutLarge(store.Meta{}, first, 40_000))
	e.Unlock()
	first.Free()
	equal(t, "when one is stored", len(holders()), 0)
	calls := 0
	second.Wait(func() { calls++ })
	third := s.Receive(key, 40_000, "third")
	second.Free()
	equal(t, "calls when the memory is back", calls, 1)
	take(third)
	equal(t, "the third", holders()[0], any("third"))
	third.Free()
	equal(t, "at the end", len(holders()), 0)
	check(t, s)
}
