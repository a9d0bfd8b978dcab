package store

import (
	"bytes"
	"fmt"
	"testing"
)

// If the pinned item is between a hole and the rest of the chunk, room is made on the other side.
func TestWidenGoesAroundThePinnedItem(t *testing.T) {
	for _, atEnd := range []bool{false, true} {
		s, err := New(Config{Memory: MinMemory, Shards: 1, Now: func() int64 { return 1 }})
		if err != nil {
			t.Fatal(err)
		}
		value := bytes.Repeat([]byte("v"), 1000)
		for i := range 2000 {
			e := s.Lock(fmt.Append(nil, i))
			if err := e.Put(Meta{}, value); err != nil {
				t.Fatal(err)
			}
			e.Unlock()
		}
		sh := &s.shards[0]
		var items []ref
		for r := ref(1 << chunkBits); r != 0; r = sh.after(r) {
			if sh.tag(r).state != 0 {
				items = append(items, r)
			}
		}
		at, pinned := items[0], items[1]
		if atEnd {
			at, pinned = items[len(items)-1], items[len(items)-2]
		}
		key := bytes.Clone(sh.item(pinned).keyBytes())
		const n = 1000
		sh.pin = pinned
		sh.widen(sh.remove(at), n)
		if sh.find(n) == 0 {
			t.Errorf("at the end %v: no hole of %d units", atEnd, n)
		}
		if !bytes.Equal(sh.item(pinned).keyBytes(), key) {
			t.Errorf("at the end %v: the pinned item has moved", atEnd)
		}
		sh.pin = 0
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	}
}
