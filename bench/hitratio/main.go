//go:build linux

// Hitratio compares the hit ratios of cache servers: it starts memcached and evcached, one after the other, and applies the same cache-aside load to
// each by several connections: a get, and a set after a miss. It prints the hit ratio of gets and of bytes, the server's resident memory, its
// processor time for a request, and the latencies of gets.
//
//	go run ./hitratio -m 256 -keys 200000 -zipf 1.01 -sizes 10-500000 -spread log,uniform
//	go run ./hitratio -equal-rss                          # evcached's -m is chosen so that it is as large as memcached
//	go run ./hitratio -trace scans,shifting,walking,loop
//	go run ./hitratio -churn -time 10m -report 10s        # resident memory while the sizes change with each set
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// config is the configuration by the command line.
type config struct {
	memcached, evcached         string
	memcachedArgs, evcachedArgs string
	memory                      int
	sizes, spreads, traces      string
	load                        load
	equal                       bool
	report                      time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, parse())
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func parse() config {
	var c config
	flag.StringVar(&c.memcached, "memcached", "memcached", "memcached's `program`; empty to leave it out")
	flag.StringVar(&c.evcached, "evcached", "build", "evcached's `program`; \"build\" builds it from this repository; empty to leave it out")
	flag.StringVar(&c.memcachedArgs, "memcached-args", "", "more `arguments` for memcached, separated by spaces")
	flag.StringVar(&c.evcachedArgs, "evcached-args", "", "more `arguments` for evcached, separated by spaces")
	flag.IntVar(&c.memory, "m", 256, "the servers' -m, `megabytes`")
	flag.StringVar(&c.sizes, "sizes", "10-2000,1000,100-20000,10-50000,10-500000", "`ranges` of the values' sizes in bytes, separated by commas")
	flag.StringVar(&c.spreads, "spread", "log,uniform", "`how` sizes are spread over their range: log, uniform or both; \"log\" has as many keys "+
		"from 10 to 20 bytes as from 10000 to 20000")
	flag.StringVar(&c.traces, "trace", "zipf", "`traces`, separated by commas: "+strings.Join(traceNames(), ", "))
	flag.IntVar(&c.load.keys, "keys", 200000, "number of keys")
	flag.Float64Var(&c.load.skew, "zipf", 1.01, "exponent of the popularity")
	flag.IntVar(&c.load.requests, "requests", 3000000, "gets of a load")
	flag.DurationVar(&c.load.limit, "time", 0, "duration of a load, instead of -requests")
	flag.Float64Var(&c.load.skip, "skip", 0, "`share` of the load, from 0 to 1, that passes before anything is counted")
	flag.IntVar(&c.load.conns, "conns", 4, "connections")
	flag.IntVar(&c.load.depth, "depth", 8, "gets that a connection sends at once")
	flag.Uint64Var(&c.load.seed, "seed", 1, "seed of sizes and requests")
	flag.BoolVar(&c.load.churn, "churn", false, "change a key's size with each set")
	flag.BoolVar(&c.equal, "equal-rss", false, "lower or raise evcached's -m until it is as large as memcached; RSS is the median of the load's second half")
	flag.DurationVar(&c.report, "report", 0, "print the resident memory in these steps")
	flag.Parse()
	return c
}

// run runs every trace with every spread of every range.
func run(ctx context.Context, c config) (err error) {
	loads, err := c.loads()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hitratio")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs, err := c.programs(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Println(header)
	for _, l := range loads {
		if err := c.compare(ctx, programs, l); err != nil {
			return fmt.Errorf("%s: %w", l.name(), err)
		}
	}
	return nil
}

// loads returns the load of the command line for each trace, range of sizes and spread.
func (c config) loads() ([]load, error) {
	if err := c.load.check(); err != nil {
		return nil, err
	}
	var loads []load
	for _, trace := range strings.Split(c.traces, ",") {
		if traces[trace] == nil {
			return nil, fmt.Errorf("-trace: there is no %q, but %s", trace, strings.Join(traceNames(), ", "))
		}
		for _, text := range strings.Split(c.sizes, ",") {
			for i, spread := range strings.Split(c.spreads, ",") {
				sizes, err := parseSizes(text, spread)
				if err != nil {
					return nil, err
				}
				if i > 0 && sizes.low == sizes.high {
					continue // the spreads are the same
				}
				l := c.load
				l.trace, l.sizes = trace, sizes
				loads = append(loads, l)
			}
		}
	}
	return loads, nil
}

// programs returns the servers to compare. It builds evcached in dir unless the command line names it.
func (c config) programs(ctx context.Context, dir string) ([]program, error) {
	var programs []program
	if c.memcached != "" {
		path, err := exec.LookPath(c.memcached)
		if err != nil {
			return nil, fmt.Errorf("-memcached: %w", err)
		}
		programs = append(programs, program{"memcached", path, strings.Fields(c.memcachedArgs)})
	}
	switch c.evcached {
	case "":
	case "build":
		path := filepath.Join(dir, "evcached")
		if err := build(ctx, path); err != nil {
			return nil, err
		}
		programs = append(programs, program{"evcached", path, strings.Fields(c.evcachedArgs)})
	default:
		programs = append(programs, program{"evcached", c.evcached, strings.Fields(c.evcachedArgs)})
	}
	if len(programs) == 0 || c.equal && len(programs) < 2 {
		return nil, fmt.Errorf("too few servers: %d", len(programs))
	}
	return programs, nil
}

// build builds evcached, in its own module, whose dependencies are not this one's.
func build(ctx context.Context, path string) error {
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/evmq/evmq").Output()
	if err != nil {
		return fmt.Errorf("find evmq's module: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-C", strings.TrimSpace(string(module)), "-buildvcs=false", "-o", path, "./cmd/evcached")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build evcached: %w\n%s", err, out)
	}
	return nil
}

const header = "load                                      server      -m MB   hits  bytes    RSS   peak  CPU µs  gets/s  p50 µs  p99 µs p99.9 µs  refused"

// compare applies a load to each of the servers. With -equal-rss it repeats the load with evcached, the last one, until evcached is as large as
// memcached.
func (c config) compare(ctx context.Context, programs []program, l load) error {
	var rss []float64
	for _, p := range programs {
		if c.equal && len(rss) > 0 {
			return c.matchRSS(ctx, p, l, rss[0])
		}
		r, err := c.measure(ctx, p, c.memory, l)
		if err != nil {
			return err
		}
		fmt.Println(r.line())
		rss = append(rss, r.rss)
	}
	return nil
}

// matchRSS runs a program with different -m until its resident memory is that of memcached, target in megabytes.
func (c config) matchRSS(ctx context.Context, p program, l load, target float64) error {
	return equalize(c.memory, target, func(memory int, last bool) (float64, error) {
		r, err := c.measure(ctx, p, memory, l)
		if err != nil {
			return 0, err
		}
		note := ""
		if !closeTo(r.rss, target) {
			note = "  not equal"
			if last {
				note = "  not equal; gave up"
			}
		}
		fmt.Println(r.line() + note)
		return r.rss, nil
	})
}

const (
	tries     = 6
	tolerance = 0.02 // of the resident memory
)

func closeTo(rss, target float64) bool { return math.Abs(rss-target) <= target*tolerance }

// equalize calls measure with different -m, in megabytes, beginning with memory, until it returns nearly target. It assumes that the resident memory
// is a constant plus a part proportional to -m. It gives up after some tries, or if there is no other -m to try.
func equalize(memory int, target float64, measure func(memory int, last bool) (float64, error)) error {
	before, beforeRSS := 0, 0.0
	for try := 1; try <= tries; try++ {
		rss, err := measure(memory, try == tries)
		if err != nil || closeTo(rss, target) {
			return err
		}
		slope := rss / float64(memory)
		if try > 1 && (rss-beforeRSS)*float64(memory-before) > 0 {
			slope = (rss - beforeRSS) / float64(memory-before)
		}
		before, beforeRSS = memory, rss
		if memory = max(1, memory-int(math.Round((rss-target)/slope))); memory == before {
			return nil
		}
	}
	return nil
}
