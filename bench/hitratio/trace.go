//go:build linux

package main

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// A source returns the numbers of the keys that a connection requests. progress is the part of the load that is done, from 0 to 1.
type source func(progress float64) uint64

// freshKeys is the first number of keys that are requested once, and the number of such keys of each connection.
const freshKeys = 100_000_000

// traces make the source of a connection.
var traces = map[string]func(l *load, conn int) source{
	// zipf requests the i-th key with a probability proportional to i^-s.
	"zipf": func(l *load, conn int) source {
		next := l.zipf(conn)
		return func(float64) uint64 { return next() }
	},
	// scans is zipf, but in a quarter of the time, ten times, new keys are read once each.
	"scans": func(l *load, conn int) source {
		next, fresh := l.zipf(conn), uint64(freshKeys*(conn+1))
		return func(progress float64) uint64 {
			if _, part := math.Modf(progress * 10); part < 0.25 {
				fresh++
				return fresh
			}
			return next()
		}
	},
	// shifting is zipf, but nine times a tenth of the keys are replaced by new ones.
	"shifting": func(l *load, conn int) source {
		next := l.zipf(conn)
		return func(progress float64) uint64 {
			key := next()
			if h := mix(key) % 10; h < uint64(progress*10) {
				key += uint64(l.keys) * (1 + h)
			}
			return key
		}
	},
	// walking is zipf with a popularity that moves continuously from each key to the next, through a tenth of the keys.
	"walking": func(l *load, conn int) source {
		next := l.zipf(conn)
		return func(progress float64) uint64 { return next() + uint64(progress*float64(l.keys)/10) }
	},
	// loop requests all keys in order, repeatedly.
	"loop": func(l *load, conn int) source {
		i := conn
		return func(float64) uint64 {
			key := uint64(i % l.keys)
			i += l.conns
			return key
		}
	},
	// half-loop is zipf for every other request, and a loop over as many other keys for the rest.
	"half-loop": func(l *load, conn int) source {
		next, i := l.zipf(conn), 2*conn
		return func(float64) uint64 {
			i++
			if i%2 == 0 {
				return next()
			}
			i += 2 * (l.conns - 1)
			return uint64(l.keys + i/2%l.keys)
		}
	},
}

func traceNames() []string { return slices.Sorted(maps.Keys(traces)) }

// zipf returns a function that draws keys for a connection.
func (l *load) zipf(conn int) func() uint64 {
	random := rand.New(rand.NewPCG(l.seed, uint64(conn)))
	sums := l.sums
	return func() uint64 {
		return uint64(sort.SearchFloat64s(sums, random.Float64()*sums[len(sums)-1]))
	}
}

// zipfSums returns the cumulative sums of the probabilities of n keys, not normalized.
func zipfSums(n int, s float64) []float64 {
	sums, sum := make([]float64, n), 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s)
		sums[i] = sum
	}
	return sums
}

// mix scatters the bits of x.
func mix(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// sizes is a range of sizes in bytes, with a uniform or a logarithmic distribution.
type sizes struct {
	low, high int
	log       bool
}

// parseSizes parses "1000" or "10-500000".
func parseSizes(text, spread string) (sizes, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	low, err := strconv.Atoi(first)
	high, err2 := strconv.Atoi(last)
	if err != nil || err2 != nil || low < 1 || high < low || high > maxValue {
		return sizes{}, fmt.Errorf("-sizes: %q is not a size or a range from 1 to %d", text, maxValue)
	}
	if spread != "log" && spread != "uniform" {
		return sizes{}, fmt.Errorf("-spread: %q is neither log nor uniform", spread)
	}
	return sizes{low, high, spread == "log"}, nil
}

// of returns the size for a hash.
func (s sizes) of(hash uint64) int {
	x := float64(hash>>11) / (1 << 53)
	if s.log {
		return int(float64(s.low) * math.Pow(float64(s.high)/float64(s.low), x))
	}
	return s.low + int(x*float64(s.high-s.low+1))
}

func (s sizes) String() string {
	switch {
	case s.low == s.high:
		return fmt.Sprintf("%d B", s.low)
	case s.log:
		return fmt.Sprintf("%d-%d B log", s.low, s.high)
	}
	return fmt.Sprintf("%d-%d B uniform", s.low, s.high)
}
