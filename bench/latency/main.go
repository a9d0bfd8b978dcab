//go:build linux

// Latency sends requests to echo servers, or to HTTP servers, at a fixed rate and measures how long each takes from the time at which it is due. So
// the time counts that a request waits because the server, or an earlier request, is slow. It also measures the processor time of the server.
//
//	go build -o /tmp/peers/ ./peers/...
//	go run ./latency -rate 5000 -time 10s gnet='/tmp/peers/gnet -addr 127.0.0.1:{port}' evmq='/tmp/peers/evmq -addr 127.0.0.1:{port}'
//	go run ./latency -rate 5000 -framing line -slow 0.01 -work 'sleep 10ms' evmq='/tmp/peers/evmq -addr 127.0.0.1:{port} -mode pool -framing line -slow'
//	go run ./latency -rate 5000 -framing http -path /json net='/tmp/http/net -addr 127.0.0.1:{port}'
//	go run ./latency -rate 5000 -addr 127.0.0.1:7000 -pid 1234    # a server that runs already
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/evmq/evmq/bench/internal/target"
)

type options struct {
	plan
	addr   string
	pid    int
	rounds int
	start  []string // NAME=COMMAND each
}

func main() {
	log.SetFlags(0)
	runtime.LockOSThread() // servers are killed when the thread that has started them ends
	o, err := parse(os.Args[0], os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(o)
	}
	if err != nil {
		log.Fatal("latency: ", err)
	}
}

func parse(program string, args []string) (o options, err error) {
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	f.Usage = func() {
		log.Printf("usage: %s [options] NAME='COMMAND with {port}' ...\n       %s [options] -addr ADDRESS [-pid PID]\n", program, program)
		f.PrintDefaults()
	}
	f.StringVar(&o.addr, "addr", "", "address of a server that runs already")
	f.IntVar(&o.pid, "pid", 0, "with -addr: the server's process, for its processor time")
	f.IntVar(&o.conns, "conns", 50, "number of connections")
	f.Float64Var(&o.rate, "rate", 1000, "requests a second, over all connections")
	f.DurationVar(&o.time, "time", 10*time.Second, "duration of a run that is measured")
	f.DurationVar(&o.warmup, "warmup", time.Second, "duration before it that is not measured")
	f.DurationVar(&o.patience, "patience", 10*time.Second, "time that the last answers may take")
	var r requestFlags
	f.IntVar(&r.size, "size", 64, "bytes of a request and of its answer, except with -framing http")
	f.StringVar(&r.framing, "framing", "raw", "what a request is: raw bytes, a line, or http, a GET request")
	f.StringVar(&r.path, "path", "", "with -framing http: the path of the request; empty for /")
	f.Float64Var(&o.slow, "slow", 0, "with -framing line or http: share of the requests that are slow, from 0 to 1")
	f.StringVar(&r.work, "work", "", "a slow request, or with -framing http its path; empty for \"sleep 10ms\" and /db")
	f.BoolVar(&o.spin, "spin", false, "do not sleep until the next request is due; requires a core for the client")
	f.IntVar(&o.rounds, "rounds", 1, "runs of each server, in random order; the medians are reported")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.start = f.Args()
	switch {
	case (o.addr == "") == (len(o.start) == 0):
		return o, errors.New("either -addr or commands that start servers are required")
	case o.pid != 0 && o.addr == "":
		return o, errors.New("-pid requires -addr")
	case o.rounds < 1:
		return o, fmt.Errorf("-rounds is %d", o.rounds)
	}
	if err := r.apply(&o.plan); err != nil {
		return o, err
	}
	return o, o.check()
}

func run(o options) (err error) {
	servers := []*target.Target{{Addr: o.addr, PID: o.pid}}
	if len(o.start) > 0 {
		servers, err = target.StartAll(o.start)
		defer func() { err = errors.Join(err, target.StopAll(servers)) }()
		if err != nil {
			return err
		}
	}
	results := make([][]*result, len(servers))
	for range o.rounds {
		for _, i := range rand.Perm(len(servers)) {
			r, err := measure(o.plan, servers[i].Addr, servers[i].PID)
			if err != nil {
				return fmt.Errorf("%s: %w", servers[i], err)
			}
			results[i] = append(results[i], r)
		}
	}
	return report(os.Stdout, servers, results)
}
