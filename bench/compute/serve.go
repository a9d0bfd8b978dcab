//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/bench/internal/child"
	"github.com/evmq/evmq/event"
)

// froms are the ways in which goroutines begin to compute: a callback of the loop sends to a channel for which they wait, starts them by a go
// statement, or by timers; the answer to a read of a net.Conn wakes them; a worker of package server runs a handler; the loop runs a handler
// itself, and another goroutine becomes its leader.
var froms = []string{"channel", "go", "timer", "read", "worker", "inline"}

// startsFromLoop reports whether the request to start goroutines is sent to the loop.
func startsFromLoop(from string) bool { return slices.Contains(froms[:3], from) }

// besides are what a process has besides the loop: nothing, a second parked loop, a server of net/http without requests, a ticker of 1 ms.
var besides = []string{"nothing", "loop", "http", "ticker"}

// latest is the number of the latest request that ends goroutines.
var latest atomic.Uint32

// begun is the descriptor on which compute reports. It is written to without the scheduler.
var begun atomic.Int32

// compute computes until a later request, for 2 s at most. The loop has no call that lets the scheduler in.
func compute() {
	number, start := latest.Load(), time.Now()
	raw(unix.SYS_WRITE, uintptr(begun.Load()), new(byte))
	for n := 1; latest.Load() == number; n++ {
		if n%1_000_000 == 0 && time.Since(start) > 2*time.Second {
			return
		}
	}
}

// raw makes a system call for one byte that the scheduler does not take part in, as package server does. Another one would wake the monitor.
func raw(call, fd uintptr, b *byte) uintptr {
	n, _, _ := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(b)), 1)
	return n
}

// serve is the process that is measured. It listens on three addresses: for the connection on which it reports the begin of computing, for one
// that the loop answers, and for those that make goroutines compute.
func serve(from, beside string) error {
	if !slices.Contains(froms, from) || !slices.Contains(besides, beside) {
		return fmt.Errorf("unknown: -from %s -beside %s", from, beside)
	}
	if err := startBeside(beside); err != nil {
		return err
	}
	report, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addrs := []string{report.Addr().String()}
	more, err := starter(from)
	if err != nil {
		return err
	}
	go func() {
		fd, err := accept(report)
		if err != nil {
			log.Fatal(err)
		}
		begun.Store(int32(fd))
		raw(unix.SYS_WRITE, uintptr(fd), new(byte)) // the client waits for it
	}()
	return child.Serve(append(addrs, more...)...)
}

func startBeside(beside string) error {
	switch beside {
	case "loop":
		l, err := event.NewLoop(nil)
		if err != nil {
			return err
		}
		go func() { _ = l.RunForever(context.Background()) }()
	case "http":
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go func() { _ = http.Serve(ln, nil) }()
	case "ticker":
		go func() {
			for range time.NewTicker(time.Millisecond).C {
			}
		}()
	}
	return nil
}

// accept waits for a connection and returns a descriptor of it that does not block and that package net does not know.
func accept(ln net.Listener) (fd int, err error) {
	nc, err := ln.Accept()
	if err != nil {
		return 0, err
	}
	f, err := nc.(*net.TCPConn).File()
	if err != nil {
		return 0, err
	}
	if fd, err = unix.Dup(int(f.Fd())); err != nil {
		return 0, err
	}
	return fd, errors.Join(unix.SetNonblock(fd, true), f.Close(), nc.Close())
}
