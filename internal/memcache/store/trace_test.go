package store_test

import (
	"math"
	"math/rand/v2"
	"sort"
)

// A trace is a sequence of requests for keys, which are numbers. A policy that does not have a key stores it with its size.
type trace struct {
	name   string
	moving bool // the popular keys change
	size   func(key uint64) int
	start  int // requests before anything is counted
	each   func(request func(key uint64))
}

// zipf draws 0 to n-1, i with a probability in proportion to (i+1)^-s, for any s.
type zipf struct {
	sums   []float64
	random *rand.Rand
}

func newZipf(n int, s float64, seed uint64) *zipf {
	z := &zipf{make([]float64, n), rand.New(rand.NewPCG(seed, 1))}
	sum := 0.0
	for i := range z.sums {
		sum += math.Pow(float64(i+1), -s)
		z.sums[i] = sum
	}
	return z
}

func (z *zipf) next() uint64 {
	return uint64(sort.SearchFloat64s(z.sums, z.random.Float64()*z.sums[len(z.sums)-1]))
}

// mix returns a hash of x.
func mix(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// sizeOf returns the length of a key's value, which depends only on the key: mostly short, and a few long.
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

// zipfian is a trace of requests for n keys.
func zipfian(n, requests int, s float64) func(request func(uint64)) {
	return func(request func(uint64)) {
		z := newZipf(n, s, 1)
		for range requests {
			request(z.next())
		}
	}
}

// traces returns the traces of decision 5. n is the number of keys, and requests the length of each trace.
func traces(n, requests int) []trace {
	plain := func(name string, s float64) trace {
		return trace{name: name, size: sizeOf, each: zipfian(n, requests, s)}
	}
	return []trace{
		plain("zipf 0.8", 0.8),
		plain("zipf 0.99", 0.99),
		plain("zipf 1.1", 1.1),
		{name: "zipf 0.99, scans", size: sizeOf, each: func(request func(uint64)) {
			z, scan := newZipf(n, 0.99, 2), uint64(n)
			for i := range requests {
				if i%(requests/10) < requests/40 { // a quarter of the requests read new keys, once each
					request(scan)
					scan++
				} else {
					request(z.next())
				}
			}
		}},
		{name: "zipf 0.99, shifting", moving: true, size: sizeOf, each: func(request func(uint64)) {
			z := newZipf(n, 0.99, 3)
			for i := range requests {
				// Ten times, a tenth of the keys' ranks are others' from then on.
				epoch := uint64(i / (requests/10 + 1))
				key := z.next()
				if h := mix(key) % 10; h < epoch {
					key += uint64(n) * (1 + h)
				}
				request(key)
			}
		}},
		{name: "zipf 0.99, walking", moving: true, size: sizeOf, each: func(request func(uint64)) {
			z := newZipf(n, 0.99, 4)
			for i := range requests {
				request(z.next() + uint64(i/20)) // the popular keys change, by one every twenty requests
			}
		}},
	}
}
