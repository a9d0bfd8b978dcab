//go:build linux

// Churn sends the same requests to several caches with memcached's protocol at the same time, stores keys that are missing, and reports for each
// cache the peak of the resident memory, the processor time, the hit ratio and the latency of a get. Values have 10 bytes to 500 KB, their sizes
// change, and the window of popular keys moves.
//
//	go run ./churn -m 64 -time 2m new='evcached -p {port} -m {m}' memcached='memcached -l 127.0.0.1 -U 0 -p {port} -m {m}'
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	smallest, largest = 10, 500_000 // bytes of a value
	rewritten         = 10          // one in this many requests is a set with a new size
	fits              = 5           // the values of the popular keys have this many times the memory
)

func main() {
	memory := flag.Int("m", 64, "megabytes of each cache: {m} in the commands")
	length := flag.Duration("time", time.Minute, "how long to ask")
	clients := flag.Int("clients", 4, "connections to each cache")
	only := flag.Int("size", 0, "bytes of every value, instead of all sizes")
	flag.Parse()
	if err := run(*memory, *clients, *only, *length, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

// run starts the caches, runs the clients, and reports.
func run(memory, clients, only int, length time.Duration, commands []string) (err error) {
	var caches []*cache
	defer func() {
		for _, c := range caches {
			err = errors.Join(err, c.stop())
		}
	}()
	for i, text := range commands {
		name, command, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=COMMAND", text)
		}
		c, err := start(name, command, 21_000+os.Getpid()%4000+i*7, memory)
		if err != nil {
			return err
		}
		caches = append(caches, c)
	}
	results := make([][]result, clients)
	failed := make([]error, clients)
	until := time.Now().Add(length)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { results[i], failed[i] = ask(caches, memory<<20, only, uint64(i), until) })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for i, c := range caches {
		var sum result
		for _, r := range results {
			sum.add(&r[i])
		}
		if err := c.report(&sum); err != nil {
			return err
		}
	}
	return nil
}

// result is the result of one client with one cache.
type result struct {
	gets, hits, sets, refused int
	took                      []time.Duration // of gets that hit
}

func (r *result) add(o *result) {
	r.gets += o.gets
	r.hits += o.hits
	r.sets += o.sets
	r.refused += o.refused
	r.took = append(r.took, o.took...)
}

// at returns the quantile q of the latencies.
func (r *result) at(q float64) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	return r.took[int(q*float64(len(r.took)-1))]
}

// ask runs a client: it requests each key from every cache, each time beginning with the next one.
func ask(caches []*cache, memory, only int, seed uint64, until time.Time) ([]result, error) {
	random := rand.New(rand.NewPCG(seed, 1))
	results := make([]result, len(caches))
	clients := make([]*client, len(caches))
	for i, c := range caches {
		var err error
		if clients[i], err = dial(c.addr); err != nil {
			return nil, err
		}
		defer func() { _ = clients[i].Close() }()
	}
	mean := float64(largest-smallest) / math.Log(float64(largest)/smallest)
	if only > 0 {
		mean = float64(only)
	}
	keys := max(100, int(fits*float64(memory)/mean))
	zipf := rand.NewZipf(random, 1.05, 10, uint64(keys-1))
	for n := 0; time.Now().Before(until); n++ {
		// The window moves by its length in ten times as many requests.
		key := fmt.Sprintf("key-%d", int(zipf.Uint64())+n/10)
		size := only
		if size == 0 {
			size = int(smallest * math.Exp(random.Float64()*math.Log(float64(largest)/smallest)))
		}
		set := random.IntN(rewritten) == 0
		for j := range caches {
			i := (n + j) % len(caches)
			if err := clients[i].one(&results[i], key, size, set); err != nil {
				return nil, fmt.Errorf("%s: %w", caches[i].name, err)
			}
		}
	}
	return results, nil
}

// report prints the line of a cache.
func (c *cache) report(r *result) error {
	slices.Sort(r.took)
	peak, err := c.resident()
	if err != nil {
		return err
	}
	cpu, err := c.processor()
	if err != nil {
		return err
	}
	fmt.Printf("%-12s peak %7.1f MB  hits %.4f  cpu %6.2f us/request  get p50 %v p99 %v p99.9 %v  sets %d refused %d\n",
		c.name, float64(peak)/(1<<20), float64(r.hits)/float64(max(1, r.gets)), float64(cpu.Nanoseconds())/1000/float64(max(1, r.gets+r.sets)),
		r.at(.5), r.at(.99), r.at(.999), r.sets, r.refused)
	return nil
}
