package store

import (
	"bytes"
	"fmt"
	"testing"
)

// A life of any class and worth has less ticks than the 8 bits of an item can tell apart, and takes the same bytes for the same time
// whatever the size, to the precision of a tick.
func TestLivesFitTheStampAndAreInProportion(t *testing.T) {
	for class := range classCount - 1 {
		for worth := range maxWorth + 1 {
			n := life(class, worth)
			if n < 1 || n > 255 {
				t.Errorf("class %d, worth %d: a life of %d ticks", class, worth, n)
			}
			held := float64(n<<shift(class)) * float64(bound(class))
			want := float64(life(0, worth)<<shift(0)) * float64(bound(0))
			if held < want*0.85 || held > want*1.0001 {
				t.Errorf("class %d, worth %d: %.3f of the bytes and time of the smallest class", class, worth, held/want)
			}
		}
	}
	if shift(classCount-1) < 0 {
		t.Errorf("the last class's tick is 2^%d", shift(classCount-1))
	}
}

// one is a store of one shard with a clock that stands still.
func one(t *testing.T, memory int64) (*Store, *shard) {
	t.Helper()
	s, err := New(Config{Memory: memory, Shards: 1, Now: func() int64 { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	return s, &s.shards[0]
}

func store(t *testing.T, s *Store, key string, size int, use bool) {
	t.Helper()
	e := s.Lock([]byte(key))
	defer e.Unlock()
	if err := e.Put(Meta{}, bytes.Repeat([]byte("v"), size)); err != nil {
		t.Fatal(err)
	}
	if use {
		e.Use()
	}
}

// The item that an operation is about is not evicted at its due, also if it is the only one of its class, and its stamp is right
// however far the inflation goes meanwhile.
func TestThePinnedItemIsNotEvictedAtItsDue(t *testing.T) {
	s, sh := one(t, 2<<20)
	store(t, s, "large", 5000, false)
	for i := range 30000 {
		store(t, s, fmt.Sprint(i), 10, i%3 == 0)
	}
	store(t, s, "large", 5000, false)
	e := s.Lock([]byte("large"))
	sh.pin = e.ref
	before := sh.inflation
	for i := 0; sh.inflation>>shift(0) < before>>shift(0)+200; i++ {
		sh.mercy = 0
		r := sh.victim()
		if r == 0 || r == sh.pin {
			t.Fatalf("victim %d is %x, pinned is %x", i, r, sh.pin)
		}
		if sh.evicted(r); i%2 == 0 {
			sh.leave(r, classOf(sh.size(sh.item(r))))
			sh.enqueue(r) // as an item that came anew
			continue
		}
		sh.remove(r)
	}
	sh.pin = 0
	e.Unlock()
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// The least due of all queues goes first. Small items stay longer than large ones that came with them, and used ones longer than new ones:
// here new ones of 20 bytes come between new and used ones of 200.
func TestTheLeastDueGoesFirst(t *testing.T) {
	s, sh := one(t, 4<<20)
	for _, size := range []int{20, 200, 2000} {
		for _, use := range []bool{false, true} {
			for i := range 20 {
				store(t, s, fmt.Sprint(size, use, i), size, use)
			}
		}
	}
	var sizes []int
	var kinds []int
	last := uint64(0)
	for {
		r := sh.victim()
		if r == 0 {
			break
		}
		if sh.inflation < last {
			t.Fatalf("the inflation goes from %x to %x", last, sh.inflation)
		}
		last = sh.inflation
		it := sh.item(r)
		sizes, kinds = append(sizes, int(it.value)), append(kinds, it.kind())
		sh.remove(r)
	}
	want := [6][2]int{{2000, newItems}, {2000, provenItems}, {200, newItems}, {20, newItems}, {200, provenItems}, {20, provenItems}}
	for i := range sizes {
		if w := want[i/20]; sizes[i] != w[0] || kinds[i] != w[1] {
			t.Fatalf("victim %d has %d bytes and is of kind %d, want %v", i, sizes[i], kinds[i], w)
		}
	}
	if len(sizes) != 120 {
		t.Errorf("%d victims", len(sizes))
	}
}

// An item whose size changes to another class is in that class's queue from then on, whether it stays in its place or not.
func TestAnItemThatChangesItsSizeChangesItsQueue(t *testing.T) {
	s, sh := one(t, 4<<20)
	store(t, s, "beside", 5000, false)
	for _, size := range []int{5000, 50, 60, 2000, 1990, largeMin, largeMin + 100, 100000, 60000, 10, 70000} {
		store(t, s, "key", size, false)
		if err := s.Check(); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		e := s.Lock([]byte("key"))
		if _, class := sh.place(e.ref); class != classOf(int64(e.Size())) || sh.item(e.ref).value != uint32(size) {
			t.Errorf("%d bytes are in class %d", size, class)
		}
		e.Unlock()
	}
}
