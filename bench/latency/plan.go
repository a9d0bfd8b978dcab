//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A kind of requests. The latencies of the kinds are counted apart.
type kind uint8

const (
	quick kind = iota
	slow
)

// kinds is the number of kinds.
const kinds = 2

func (k kind) String() string { return [kinds]string{"quick", "slow"}[k] }

// A plan is the load of a run. It does not depend on what the server does.
type plan struct {
	conns    int
	rate     float64 // requests a second
	time     time.Duration
	warmup   time.Duration // before time, not measured
	patience time.Duration // for the answers after the last request
	slow     float64       // share of requests of kind slow
	requests [kinds][]byte // the answers are the same bytes, except for HTTP
	isHTTP   bool          // an answer ends by its Content-Length
	spin     bool          // polls without sleeping
}

func (p *plan) check() error {
	const most = 1 << 26 // requests: each takes 16 bytes of memory
	switch {
	case p.conns < 1 || p.conns > 15_000:
		return fmt.Errorf("-conns is %d, and not from 1 to 15000", p.conns)
	case !(p.rate > 0) || p.rate > 1e9:
		return fmt.Errorf("-rate is %g, and not from 0 to 1e9", p.rate)
	case p.time <= 0 || p.warmup < 0 || p.patience < 0:
		return fmt.Errorf("-time %v, -warmup %v or -patience %v is negative, or there is no time to measure", p.time, p.warmup, p.patience)
	case !(p.slow >= 0 && p.slow <= 1):
		return fmt.Errorf("-slow is %g, and not from 0 to 1", p.slow)
	case p.rate*(p.time+p.warmup).Seconds() > most:
		return fmt.Errorf("-rate %g for %v are more than %d requests", p.rate, p.time+p.warmup, most)
	case p.total() == p.first():
		return fmt.Errorf("no request is due in %v with -rate %g", p.time, p.rate)
	}
	return nil
}

// due returns when the i-th request is due, from the start of the run.
func (p *plan) due(i int) time.Duration {
	return time.Duration(float64(i) / p.rate * float64(time.Second))
}

// dueBefore returns the number of requests that are due before t.
func (p *plan) dueBefore(t time.Duration) int {
	n := int(t.Seconds() * p.rate)
	for p.due(n) < t {
		n++
	}
	for n > 0 && p.due(n-1) >= t {
		n--
	}
	return n
}

// first returns the number of the first request that is measured, and total that of all requests.
func (p *plan) first() int { return p.dueBefore(p.warmup) }
func (p *plan) total() int { return p.dueBefore(p.warmup + p.time) }

// choices returns a function that returns the kinds of the requests, one after the other. They are the same in each run.
func (p *plan) choices() func() kind {
	random := rand.New(rand.NewPCG(1, 2))
	return func() kind {
		if p.slow > 0 && random.Float64() < p.slow {
			return slow
		}
		return quick
	}
}
