package main

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sort"
)

// A trace is a sequence of keys by number: a cache that lacks a key stores it. The traces are those of the store's own test.
type trace struct {
	name string
	each func(n, requests int, request func(key uint64) error) error
}

var traces = []trace{{"zipf 0.8", plain(0.8)}, {"zipf 0.99", plain(0.99)}, {"zipf 1.1", plain(1.1)}, {"scans", scans}, {"shifting", shifting}}

func plain(s float64) func(n, requests int, request func(uint64) error) error {
	return func(n, requests int, request func(uint64) error) error {
		next := zipf(n, s)
		for range requests {
			if err := request(next()); err != nil {
				return err
			}
		}
		return nil
	}
}

// scans has new keys, once each, for a quarter of the requests.
func scans(n, requests int, request func(uint64) error) error {
	next, scan := zipf(n, 0.99), uint64(n)
	for i := range requests {
		key := scan
		if i%(requests/10) < requests/40 {
			scan++
		} else {
			key = next()
		}
		if err := request(key); err != nil {
			return err
		}
	}
	return nil
}

// shifting gives a tenth of the ranks to other keys, ten times.
func shifting(n, requests int, request func(uint64) error) error {
	next := zipf(n, 0.99)
	for i := range requests {
		key := next()
		if h := mix(key) % 10; h < uint64(i/(requests/10+1)) {
			key += uint64(n) * (1 + h)
		}
		if err := request(key); err != nil {
			return err
		}
	}
	return nil
}

// zipf draws 0 to n-1, i with a probability in proportion to (i+1)^-s.
func zipf(n int, s float64) func() uint64 {
	random := rand.New(rand.NewPCG(1, 1))
	sums, sum := make([]float64, n), 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s)
		sums[i] = sum
	}
	return func() uint64 { return uint64(sort.SearchFloat64s(sums, random.Float64()*sum)) }
}

// mix scatters the bits of x.
func mix(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// sizeOf returns the length of a key's value: most are short, a few are long.
func sizeOf(key uint64) int {
	h := mix(key)
	within := func(lo, hi uint64) int { return int(lo + h>>32%(hi-lo)) }
	switch p := h % 1000; {
	case p < 500:
		return within(20, 120)
	case p < 800:
		return within(120, 500)
	case p < 960:
		return within(500, 2000)
	case p < 996:
		return within(2000, 8000)
	default:
		return within(8000, 40000)
	}
}

// number is a key of ten bytes.
type number [10]byte

func (b *number) of(key uint64) []byte {
	binary.LittleEndian.PutUint64(b[:], key)
	return b[:]
}
