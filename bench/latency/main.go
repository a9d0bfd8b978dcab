//go:build linux

// Latency sends requests to echo servers at a fixed rate and measures how long each takes from the time at which it is due. So the time counts that
// a request waits because the server, or an earlier request, is slow. It also measures the processor time of the server.
//
//	go build -o /tmp/peers/ ./peers/...
//	go run ./latency -rate 5000 -time 10s gnet='/tmp/peers/gnet -addr 127.0.0.1:{port}' evmq='/tmp/peers/evmq -addr 127.0.0.1:{port}'
//	go run ./latency -rate 5000 -framing line -slow 0.01 -work 'sleep 10ms' evmq='/tmp/peers/evmq -addr 127.0.0.1:{port} -mode pool -framing line -slow'
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
	"strings"
	"time"
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
	size := f.Int("size", 64, "bytes of a request and of its answer")
	framing := f.String("framing", "raw", "what a request is: raw bytes, or a line")
	f.Float64Var(&o.slow, "slow", 0, "with -framing line: share of the requests that are slow, from 0 to 1")
	work := f.String("work", "sleep 10ms", "a slow request")
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
	case *framing != "raw" && *framing != "line":
		return o, fmt.Errorf("unknown -framing %s", *framing)
	case *framing == "raw" && o.slow > 0:
		return o, errors.New("-slow requires -framing line")
	case o.rounds < 1:
		return o, fmt.Errorf("-rounds is %d", o.rounds)
	case strings.Contains(*work, "\n"):
		return o, fmt.Errorf("-work is %q, which is not a line", *work)
	case *size < 1:
		return o, fmt.Errorf("-size is %d", *size)
	}
	end := "x"
	if *framing == "line" {
		end = "\n"
	}
	o.requests[quick] = []byte(strings.Repeat("x", *size-1) + end)
	o.requests[slow] = []byte(*work + "\n")
	return o, o.check()
}

func run(o options) (err error) {
	servers := []*target{{addr: o.addr, pid: o.pid}}
	if len(o.start) > 0 {
		servers, err = startAll(o.start)
		defer func() { err = errors.Join(err, stopAll(servers)) }()
		if err != nil {
			return err
		}
	}
	results := make([][]*result, len(servers))
	for range o.rounds {
		for _, i := range rand.Perm(len(servers)) {
			r, err := measure(o.plan, servers[i].addr, servers[i].pid)
			if err != nil {
				return fmt.Errorf("%s: %w", servers[i], err)
			}
			results[i] = append(results[i], r)
		}
	}
	return report(os.Stdout, servers, results)
}
