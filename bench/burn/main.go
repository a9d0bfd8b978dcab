//go:build linux

// Burn measures how long a request on a loop waits while handlers on workers compute. A handler on each worker uses processor time
// continuously, and a client sends a fixed number of requests a second to a handler on the loop.
//
//	go run ./burn -burning 2 -rate 500 -time 5s -procs 2,3,4,10
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/bench/internal/child"
	"github.com/evmq/evmq/server"
)

func main() {
	burning := flag.Int("burning", 2, "number of workers, all of which compute")
	rate := flag.Int("rate", 500, "requests a second")
	length := flag.Duration("time", 5*time.Second, "duration of a run")
	procs := flag.String("procs", "2,3,4,10", "values of GOMAXPROCS")
	isServer := flag.Bool("serve", false, "run as the server (used by the program itself)")
	flag.Parse()
	var err error
	if *isServer {
		err = serve(*burning)
	} else {
		err = run(*burning, *rate, *length, strings.Split(*procs, ","))
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(burning, rate int, length time.Duration, procs []string) error {
	for _, n := range procs {
		waits, err := measure(burning, rate, length, n)
		if err != nil {
			return fmt.Errorf("GOMAXPROCS %s: %w", n, err)
		}
		slices.Sort(waits)
		fmt.Printf("%d burning, GOMAXPROCS %s: p50 %v, p99 %v, of %d\n", burning, n,
			waits[len(waits)/2], waits[len(waits)*99/100], len(waits))
	}
	return nil
}

// measure returns the time until each answer. Requests are sent when they are due, also if earlier answers have not arrived.
func measure(burning, rate int, length time.Duration, procs string) (waits []time.Duration, err error) {
	c, err := child.Start(nil, []string{"GOMAXPROCS=" + procs}, "-serve", "-burning", strconv.Itoa(burning))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	for range burning {
		nc, err := net.Dial("tcp", c.Addr(1))
		if err != nil {
			return nil, err
		}
		defer func() { _ = nc.Close() }()
		if _, err := nc.Write([]byte("burn\n")); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil { // after the byte the handler computes
			return nil, err
		}
	}
	nc, err := net.Dial("tcp", c.Addr(0))
	if err != nil {
		return nil, err
	}
	defer func() { _ = nc.Close() }()
	n := int(length.Seconds() * float64(rate))
	due := func(i int) time.Duration { return time.Duration(i) * time.Second / time.Duration(rate) }
	start := time.Now()
	sentAt := make([]atomic.Int64, n) // since start; measured, since a sleep is late by up to a millisecond
	sent := make(chan error, 1)
	go func() {
		for i := range n {
			time.Sleep(due(i) - time.Since(start))
			sentAt[i].Store(int64(time.Since(start)))
			if _, err := nc.Write([]byte{'x'}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	buf := make([]byte, 4096)
	for len(waits) < n {
		got, err := nc.Read(buf)
		if err != nil {
			return nil, err
		}
		for range got {
			waits = append(waits, time.Since(start)-time.Duration(sentAt[len(waits)].Load()))
		}
	}
	return waits, <-sent
}

func serve(burning int) error {
	srv := &server.Server{Workers: burning, NumLoops: 1,
		Handler: server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) { return c.Write(p) })}
	ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	hot, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: server.Dispatch(bufio.ScanLines, burn)})
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	err = child.Serve(ln.Addr().String(), hot.Addr().String())
	enough.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, srv.Shutdown(ctx))
}

// enough ends the computing.
var enough atomic.Bool

// burn reports that it has started, and computes.
func burn(w server.Reply, _ []byte) {
	if _, err := w.Write([]byte{'b'}); err != nil || w.Flush() != nil {
		return
	}
	x := 1.0
	for !enough.Load() {
		for range 10_000 {
			x = math.Sqrt(x + 1)
		}
	}
	if x < 0 {
		panic("the result is used")
	}
}
