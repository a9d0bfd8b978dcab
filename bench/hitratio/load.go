//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// load describes the requests of all connections.
type load struct {
	trace    string
	sizes    sizes
	keys     int
	skew     float64
	requests int           // number of gets of all connections,
	limit    time.Duration // or, if not 0, the duration
	skip     float64       // part of the load that is not counted
	conns    int
	depth    int
	seed     uint64
	churn    bool
	sums     []float64 // of the keys' probabilities
}

// maxValue is the maximum length of a value in bytes.
const maxValue = 64 << 20

func (l *load) check() error {
	if l.keys < 1 || l.keys > freshKeys/20 || l.requests < 1 || l.conns < 1 || l.depth < 1 || l.skip < 0 || l.skip >= 1 || l.skew < 0 || l.limit < 0 {
		return fmt.Errorf("-keys, -requests, -conns and -depth must be at least 1, -keys at most %d, -skip less than 1, none negative", freshKeys/20)
	}
	return nil
}

func (l *load) name() string {
	name := l.trace + " " + l.sizes.String()
	if l.churn {
		name += ", churn"
	}
	return name
}

// progress is the state of a running load. Any goroutine.
type progress struct {
	load
	start time.Time
	gets  atomic.Int64 // begun
	sets  atomic.Uint64
	block []byte // the content of values
}

func (l load) begin() *progress {
	l.sums = zipfSums(l.keys, l.skew)
	p := &progress{load: l, start: time.Now(), block: make([]byte, l.sizes.high)}
	random := rand.New(rand.NewPCG(l.seed, 0))
	for i := range p.block {
		p.block[i] = byte(random.Uint32())
	}
	return p
}

// part returns the part of the load that is done, from 0 to 1.
func (p *progress) part() float64 {
	if p.limit > 0 {
		return min(1, float64(time.Since(p.start))/float64(p.limit))
	}
	return min(1, float64(p.gets.Load())/float64(p.requests))
}

// size returns the size of a key's value.
func (p *progress) size(key uint64) int {
	h := mix(key ^ p.seed<<40)
	if p.churn {
		h = mix(h + p.sets.Add(1))
	}
	return p.sizes.of(h)
}

// run applies the load to the server at addr and returns the sum of the connections' tallies.
func (p *progress) run(ctx context.Context, addr string) (tally, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tallies, errs := make([]tally, p.conns), make([]error, p.conns)
	var wg sync.WaitGroup
	for i := range p.conns {
		wg.Go(func() {
			tallies[i], errs[i] = p.runConn(ctx, addr, i)
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	var sum tally
	for i := range tallies {
		sum.add(&tallies[i])
	}
	return sum, errors.Join(errs...)
}

// runConn runs one connection: batches of depth gets, each followed by sets of the missing keys.
func (p *progress) runConn(ctx context.Context, addr string, i int) (t tally, err error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	next := traces[p.trace](&p.load, i)
	keys := make([]uint64, p.depth)
	for ctx.Err() == nil {
		part := p.part()
		if part == 1 {
			return t, nil
		}
		p.gets.Add(int64(p.depth))
		for j := range keys {
			keys[j] = next(part)
		}
		var uncounted tally
		into := &t
		if part < p.skip {
			into = &uncounted
		}
		missing, err := c.gets(keys, into)
		if err == nil {
			err = c.sets(missing, into, p)
		}
		if err != nil {
			return t, fmt.Errorf("connection %d, after %d gets: %w", i, t.gets, err)
		}
	}
	return t, ctx.Err()
}
