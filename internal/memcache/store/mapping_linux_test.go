//go:build !race

package store_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/internal/testkit"
)

// resident returns the resident memory of the process in bytes.
func resident(t *testing.T) int {
	t.Helper()
	p, err := os.ReadFile("/proc/self/statm")
	testkit.Must(t, err)
	var size, pages int
	_, err = fmt.Sscan(string(p), &size, &pages)
	testkit.Must(t, err)
	return pages * os.Getpagesize()
}

// mapped reports whether an address is mapped.
func mapped(t *testing.T, addr uintptr) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	testkit.Must(t, err)
	for line := range bytes.Lines(maps) {
		var from, to uintptr
		if _, err := fmt.Sscanf(string(line), "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		if from <= addr && addr < to {
			return true
		}
	}
	return false
}

// TestTheMemoryOfAStoreIsMappedWhileItIsReferenced by the store, a lease or a value that is being received, and is unmapped then.
func TestTheMemoryOfAStoreIsMappedWhileItIsReferenced(t *testing.T) {
	use := func() (*store.Lease, *store.Incoming) {
		s, _ := open(t, store.Config{Memory: 64 << 20, Shards: 1})
		v := s.Receive([]byte("key"), 50_000, nil)
		testkit.Must(t, v.Grow(50_000))
		return borrow(t, s, "lent", 50_000), v
	}
	l, v := use()
	addr := uintptr(unsafe.Pointer(&l.Parts()[0][0]))
	collect := func() {
		for range 3 { // cleanups run behind a collection
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
	}
	collect()
	if got := l.Parts()[0]; !bytes.HasPrefix(got, []byte("lent")) || !mapped(t, addr) {
		t.Errorf("what is lent begins with %q", got[:4])
	}
	giveBack(l)
	collect()
	v.Append(make([]byte, 50_000)) // it would end the program if the memory were gone
	equal(t, "mapped while a value is being received", mapped(t, addr), true)
	v.Free()
	for end := time.Now().Add(20 * time.Second); mapped(t, addr); collect() {
		if time.Now().After(end) {
			t.Fatal("the memory is mapped 20 s after the store is gone")
		}
	}
}

// TestAStoreThatShrinksReturnsMemoryToTheSystem, and uses it again when it grows.
func TestAStoreThatShrinksReturnsMemoryToTheSystem(t *testing.T) {
	s, _ := open(t, store.Config{Memory: 64 << 20, Shards: 2})
	fill := func() {
		for i := range 3000 {
			testkit.Must(t, put(s, fmt.Sprint(i), store.Meta{}, make([]byte, 100+i%2*50_000)))
		}
		check(t, s)
	}
	fill()
	full := resident(t)
	testkit.Must(t, s.SetMemory(8<<20))
	check(t, s)
	const heap = 16 << 20 // by which the test's own garbage may have grown or shrunk
	if n := full - resident(t); n < 56<<20-heap {
		t.Errorf("%d bytes were given back, of 56 MB", n)
	}
	fill()
	testkit.Must(t, s.SetMemory(64<<20))
	fill()
}
