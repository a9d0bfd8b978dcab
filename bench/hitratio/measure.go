//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"
)

// tally is the counts of connections.
type tally struct {
	gets, hits      int64
	bytes, hitBytes int64 // of the requested values
	sets, refused   int64
	latency         histogram // of gets
}

func (t *tally) add(d *tally) {
	t.gets += d.gets
	t.hits += d.hits
	t.bytes += d.bytes
	t.hitBytes += d.hitBytes
	t.sets += d.sets
	t.refused += d.refused
	for i := range t.latency {
		t.latency[i] += d.latency[i]
	}
}

// histogram counts times in classes, 32 from each power of two to the next.
type histogram [64 * 32]int64

func (h *histogram) add(d time.Duration) { h[timeClass(d)]++ }

// timeClass returns the class of a time.
func timeClass(d time.Duration) int {
	n := uint64(max(d, 32))
	e := bits.Len64(n) - 1
	return (e-5)*32 + int(n>>(e-5)&31)
}

// quantile returns the time that a share of all times does not exceed, to 3 per cent.
func (h *histogram) quantile(share float64) time.Duration {
	total := int64(0)
	for _, n := range h {
		total += n
	}
	rest := int64(float64(total) * share)
	for i, n := range h {
		if rest -= n; rest < 0 {
			return time.Duration((33 + i%32)) << (i / 32)
		}
	}
	return 0
}

// result is the result of a load with a server.
type result struct {
	program string
	memory  int // -m
	load    load
	tally
	rss, peak float64       // megabytes: the median of the second half, and the peak
	cpu       time.Duration // for a get, with the set after a miss
	rate      float64       // gets a second
}

func (r *result) line() string {
	share := func(a, b int64) float64 { return float64(a) / float64(max(1, b)) }
	micro := func(q float64) float64 { return float64(r.latency.quantile(q)) / 1e3 }
	return fmt.Sprintf("%-41s %-10s %6d %6.4f %6.4f %6.0f %6.0f %7.2f %7.0f %7.0f %7.0f %9.0f %8d", r.load.name(), r.program, r.memory,
		share(r.hits, r.gets), share(r.hitBytes, r.bytes), r.rss, r.peak, float64(r.cpu)/1e3,
		r.rate, micro(0.5), micro(0.99), micro(0.999), r.refused)
}

// measure starts a program, applies the load, and stops it.
func (c config) measure(ctx context.Context, p program, memory int, l load) (r *result, err error) {
	s, err := p.start(ctx, memory)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	under := l.begin()
	stop, watched := make(chan struct{}), make(chan sample, 1)
	go func() { watched <- c.watch(s, p.name, under, stop) }()
	t, err := under.run(ctx, s.addr)
	rate := float64(under.gets.Load()) / time.Since(under.start).Seconds()
	close(stop)
	seen := <-watched
	after, cpuErr := s.cpu()
	if err := errors.Join(err, cpuErr, seen.err); err != nil {
		return nil, err
	}
	_, peak, err := s.resident()
	return &result{program: p.name, memory: memory, load: l, tally: t, rss: seen.median(), peak: peak, rate: rate,
		cpu: (after - before) / time.Duration(max(1, under.gets.Load()))}, err
}

// sample is the samples of the resident memory in the second half of a load.
type sample struct {
	rss []float64
	err error
}

func (s *sample) median() float64 {
	slices.Sort(s.rss)
	return s.rss[len(s.rss)/2]
}

// watch samples the server's resident memory until stop is closed, and once more then, and prints it at the intervals of -report.
func (c config) watch(s *server, name string, p *progress, stop chan struct{}) (seen sample) {
	const step = 100 * time.Millisecond
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	reported := time.Now()
	for last := false; !last; {
		select {
		case <-ticker.C:
		case <-stop:
			last = true
		}
		now, _, err := s.resident()
		if err != nil {
			return sample{[]float64{0}, err}
		}
		if last || p.part() > 0.5 {
			seen.rss = append(seen.rss, now)
		}
		if c.report > 0 && time.Since(reported) >= c.report {
			reported = time.Now()
			fmt.Printf("# %s after %v: %.0f MB, %d gets\n", name, time.Since(p.start).Round(time.Second), now, p.gets.Load())
		}
	}
	return seen
}
