//go:build linux

// Tls measures the processor time of TLS in a server. It runs an echo server of package server and one of net and crypto/tls alternately, with the
// same certificate, the same client and one core each, and prints the ratio of their processor times.
//
//	go run ./tls -conns 50 -time 3s -repeats 7       # per request of 64 bytes on open connections
//	go run ./tls -handshakes -conns 50 -time 3s      # per connection: handshake, one request, close
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/bench/internal/child"
	"github.com/evmq/evmq/server"
)

type plan struct {
	conns      int
	length     int
	handshakes bool
	time       time.Duration
	cpu        int
}

func main() {
	var p plan
	flag.IntVar(&p.conns, "conns", 50, "connections at a time")
	flag.IntVar(&p.length, "length", 64, "bytes of a request and of its answer")
	flag.BoolVar(&p.handshakes, "handshakes", false, "a new connection for each request")
	flag.DurationVar(&p.time, "time", 3*time.Second, "duration of a run")
	flag.IntVar(&p.cpu, "client", 1, "core of the client; the server has core 0")
	repeats := flag.Int("repeats", 5, "runs of each server")
	kind := flag.String("serve", "", "run as the server evmq, workers or net (used by the program itself)")
	flag.Parse()
	var err error
	if *kind != "" {
		err = serve(*kind)
	} else {
		err = compare(p, *repeats)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func compare(p plan, repeats int) error {
	runtime.LockOSThread()
	runtime.GOMAXPROCS(1)
	if _, err := child.Pin(p.cpu); err != nil {
		return err
	}
	kinds := []string{"net", "evmq", "workers"}
	ratios := map[string][]float64{}
	for range repeats {
		var base float64
		for _, kind := range kinds {
			cpu, err := measure(kind, p)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			if kind == "net" {
				base = cpu
			}
			ratios[kind] = append(ratios[kind], cpu/base)
			fmt.Printf("%-8s %8.2f µs  ratio to net %.3f\n", kind, cpu, cpu/base)
		}
	}
	for _, kind := range kinds[1:] {
		slices.Sort(ratios[kind])
		fmt.Printf("%-8s median ratio %.3f of %.3f\n", kind, ratios[kind][repeats/2], ratios[kind])
	}
	return nil
}

// measure returns the server's processor time per request in microseconds.
func measure(kind string, p plan) (cpu float64, err error) {
	c, err := child.Start([]int{0}, []string{"GOMAXPROCS=1"}, "-serve", kind)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	var n atomic.Int64
	var stop atomic.Bool
	failures := make(chan error, p.conns)
	var clients sync.WaitGroup
	for range p.conns {
		clients.Go(func() {
			for !stop.Load() {
				if err := converse(c.Addr(0), p, &n, &stop); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	time.Sleep(p.time / 4) // until all clients are connected and the first requests were served
	before, err := c.CPU()
	if err != nil {
		return 0, err
	}
	from := n.Load()
	time.Sleep(p.time)
	after, err := c.CPU()
	count := n.Load() - from
	stop.Store(true)
	clients.Wait()
	close(failures)
	for e := range failures {
		err = errors.Join(err, e)
	}
	return float64((after - before).Nanoseconds()) / 1000 / float64(count), err
}

// converse opens a connection and sends requests on it until stop is set.
func converse(addr string, p plan, n *atomic.Int64, stop *atomic.Bool) error {
	nc, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // the verification is not measured
	if err != nil {
		return err
	}
	defer func() { _ = nc.Close() }()
	buf := make([]byte, p.length)
	for first := true; !stop.Load() && (first || !p.handshakes); first = false {
		if _, err := nc.Write(buf); err != nil {
			return err
		}
		if _, err := io.ReadFull(nc, buf); err != nil {
			return err
		}
		n.Add(1)
	}
	return nil
}

func serve(kind string) error {
	config, err := config()
	if err != nil {
		return err
	}
	if kind == "net" {
		return serveNet(config)
	}
	srv := &server.Server{TLS: config, Handler: server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) { return c.Write(p) })}
	if kind == "workers" {
		srv.Handler = server.Dispatch(everything, func(w server.Reply, p []byte) {
			_, _ = w.Write(p) // fails only when the client is gone
		})
	}
	ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	return errors.Join(child.Serve(ln.Addr().String()), srv.Close())
}

// everything is a framing whose message is all bytes that have arrived.
func everything(data []byte, _ bool) (int, []byte, error) { return len(data), data, nil }

func serveNet(config *tls.Config) error {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return err
	}
	go func() {
		for {
			nc, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "accept:", err)
				return
			}
			go echo(nc)
		}
	}()
	return errors.Join(child.Serve(ln.Addr().String()), ln.Close())
}

func echo(nc net.Conn) {
	defer func() { _ = nc.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := nc.Read(buf)
		if err != nil {
			return
		}
		if _, err := nc.Write(buf[:n]); err != nil {
			return
		}
	}
}
