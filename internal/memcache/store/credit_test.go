package store

import (
	"bytes"
	"fmt"
	"testing"
)

// The credit of every class and frequency fits into the 8 bits of an item's stamp, and credit times size is the same for all classes to the
// precision of a tick.
func TestCreditFitsTheStampAndIsInverseToTheSize(t *testing.T) {
	for class := range classCount - 1 {
		for frequency := range maxFrequency + 1 {
			n := credit(class, frequency)
			if n < 1 || n > 255 {
				t.Errorf("class %d, frequency %d: a credit of %d ticks", class, frequency, n)
			}
			held := float64(n<<shift(class)) * float64(bound(class))
			want := float64(credit(0, frequency)<<shift(0)) * float64(bound(0))
			if held < want*0.85 || held > want*1.0001 {
				t.Errorf("class %d, frequency %d: %.3f of the bytes and time of the smallest class", class, frequency, held/want)
			}
		}
	}
	if shift(classCount-1) < 0 {
		t.Errorf("the last class's tick is 2^%d", shift(classCount-1))
	}
}

// one returns a store of one shard with a constant clock.
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

// The item of the current operation is not evicted when its priority is the lowest, even if it is alone in its queue. Its stamp stays valid
// while the inflation rises beyond its priority.
func TestThePinnedItemIsNotEvicted(t *testing.T) {
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
		sh.reinserts = 0
		r := sh.victim()
		if r == 0 || r == sh.pin {
			t.Fatalf("victim %d is %x, pinned is %x", i, r, sh.pin)
		}
		if sh.evicted(r); i%2 == 0 {
			sh.leave(r, classOf(sh.size(sh.item(r))))
			sh.enqueue(r) // as if it were stored again
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

// The item with the lowest priority of all queues is evicted first. Small items stay longer than large items stored at the same time, and
// used items longer than unused ones: here unused items of 20 bytes are evicted between the unused and the used ones of 200 bytes.
func TestTheLowestPriorityIsEvictedFirst(t *testing.T) {
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
	want := [6][2]int{{2000, probation}, {2000, protected}, {200, probation}, {20, probation}, {200, protected}, {20, protected}}
	for i := range sizes {
		if w := want[i/20]; sizes[i] != w[0] || kinds[i] != w[1] {
			t.Fatalf("victim %d has %d bytes and is of kind %d, want %v", i, sizes[i], kinds[i], w)
		}
	}
	if len(sizes) != 120 {
		t.Errorf("%d victims, want 120", len(sizes))
	}
}

// An item whose new size belongs to another class moves to the queue of that class, whether its block changes or not.
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
