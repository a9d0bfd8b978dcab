// Store compares the store of package memcache with other caches for Go: the memory of a small item, the time of a garbage collection with
// many items, the times of a get and a set, and the hit ratios of some traces with the same memory.
//
//	go run ./store -items 1000000 -memory 64 -requests 2000000
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	items := flag.Int("items", 1000000, "number of small items, with a key of 10 bytes and a value of 32")
	memory := flag.Int("memory", 64, "megabytes for the traces")
	keys := flag.Int("keys", 1000000, "keys of the traces")
	requests := flag.Int("requests", 2000000, "length of the traces")
	only := flag.String("only", "", "names of libraries, separated by commas; all if empty")
	flag.Parse()
	if err := run(*items, *memory<<20, *keys, *requests, *only); err != nil {
		log.Fatal(err)
	}
}

func run(items, memory, keys, requests int, only string) error {
	fmt.Printf("%-10s %8s %8s %8s %8s %8s", "", "B/item", "GC ms", "hit ns", "miss ns", "set ns")
	for _, tr := range traces {
		fmt.Printf(" %9s", tr.name)
	}
	fmt.Println()
	for _, l := range libraries {
		if only != "" && !slices.Contains(strings.Split(only, ","), l.name) {
			continue
		}
		c, err := measure(l, items)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		fmt.Printf("%-10s %8.1f %8.1f %8.0f %8.0f %8.0f", l.name, c.bytes, c.collection.Seconds()*1e3, c.hit, c.miss, c.set)
		for _, tr := range traces {
			share, err := answered(l, tr, memory, int(c.bytes)-payload, keys, requests)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			fmt.Printf(" %9.4f", share)
		}
		fmt.Println()
	}
	return nil
}

const payload = 10 + 32

// cost is the cost of a library with many small items.
type cost struct {
	bytes          float64       // per item, with all overhead
	collection     time.Duration // processor time of one
	hit, miss, set float64       // nanoseconds of processor time, background goroutines included
}

// measure fills a cache with small items and uses it on one goroutine.
func measure(l library, items int) (cost, error) {
	size := items * 400
	if l.full {
		size = items * 70 // a little more than its head and the payload
	}
	before := heap()
	c, err := l.open(size, 0)
	if err != nil {
		return cost{}, err
	}
	var key number
	value := make([]byte, payload-len(key))
	for i := range items {
		if err := c.set(key.of(uint64(i)), value); err != nil {
			return cost{}, err
		}
	}
	var co cost
	found, last := -1, -2
	for found != last { // some libraries store on goroutines of their own, and not all of those can be waited for
		last, found = found, 0
		for i := range items {
			if c.get(key.of(uint64(i))) {
				found++
			}
		}
	}
	if found == 0 {
		return co, errors.New("no item is left")
	}
	bytes := heap() - before
	if o, ok := c.(interface{ memory() int64 }); ok {
		bytes = o.memory()
	}
	co.bytes = float64(bytes) / float64(found)
	cpu := processor()
	for range 5 {
		runtime.GC()
	}
	co.collection = (processor() - cpu) / 5
	random := rand.New(rand.NewPCG(1, 2))
	each := func(op func(i uint64)) float64 {
		cpu := processor()
		for range items {
			op(random.Uint64N(uint64(items)))
		}
		return float64(processor()-cpu) / float64(items)
	}
	co.hit = each(func(i uint64) { c.get(key.of(i)) })
	co.miss = each(func(i uint64) { c.get(key.of(i + uint64(items))) })
	co.set = each(func(i uint64) { err = errors.Join(err, c.set(key.of(i), value)) })
	return co, errors.Join(err, c.close())
}

// heap returns the number of live bytes in Go's heap.
func heap() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// processor returns the processor time that the program has used.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// answered returns the hit ratio of a trace with a cache of the given memory.
func answered(l library, tr trace, memory, overhead, keys, requests int) (float64, error) {
	c, err := l.open(memory, overhead)
	if err != nil {
		return 0, err
	}
	found := 0
	var key number
	value := make([]byte, 1<<20)
	err = tr.each(keys, requests, func(i uint64) error {
		if c.get(key.of(i)) {
			found++
			return nil
		}
		return c.set(key.of(i), value[:sizeOf(i)])
	})
	return float64(found) / float64(requests), errors.Join(err, c.close())
}
