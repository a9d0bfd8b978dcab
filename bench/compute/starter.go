//go:build linux

package main

import (
	"bufio"
	"context"
	"log"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/server"
)

// starter starts the loop and what makes goroutines compute, and returns the addresses of the loop and of the latter.
func starter(from string) (addrs []string, err error) {
	switch from {
	case "worker":
		return startServer(onWorkers(computes))
	case "inline":
		return startServer(inline(computes))
	case "read":
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		go readers(ln)
		addr, err := startLoop(from)
		return []string{addr, ln.Addr().String()}, err
	}
	addr, err := startLoop(from)
	return []string{addr}, err
}

// computes is the function of a Dispatcher.
func computes(server.Reply, []byte) { compute() }

// startServer starts a server with one loop, which answers each byte at its first address, and has h at the second.
func startServer(h server.Handler) (addrs []string, err error) {
	srv := &server.Server{NumLoops: 1, Workers: 8, Handler: server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) {
		if p[0] == 's' {
			latest.Add(1)
		}
		return c.Write(p)
	})}
	for _, config := range []*server.ListenerConfig{nil, {Handler: h}} {
		ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", config)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs, nil
}

// readers starts a goroutine for each connection, which computes when a message arrives.
func readers(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			for lines := bufio.NewScanner(nc); lines.Scan(); {
				compute()
			}
		}()
	}
}

// startLoop starts a loop that serves one connection by raw system calls.
func startLoop(from string) (addr string, err error) {
	l, err := event.NewLoop(nil)
	if err != nil {
		return "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	waiting := make(chan struct{})
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for range waiting {
				compute()
			}
		}()
	}
	start := func() {
		switch from {
		case "channel":
			waiting <- struct{}{}
		case "go":
			go compute()
		case "timer":
			time.AfterFunc(0, compute)
		}
	}
	go func() {
		fd, err := accept(ln)
		if err == nil {
			err = serveConn(l, fd, start)
		}
		if err != nil {
			log.Fatal(err)
		}
	}()
	return ln.Addr().String(), nil
}

// serveConn runs the loop. A request is a byte: 'c' calls start for each processor, and is not answered; 's' ends the goroutines.
func serveConn(l *event.Loop, fd int, start func()) error {
	e, err := l.NewEvent(fd, event.Read|event.Persist, func(*event.Event, event.Flags) {
		var request [1]byte
		if raw(unix.SYS_READ, uintptr(fd), &request[0]) != 1 {
			_ = l.Break()
			return
		}
		switch request[0] {
		case 'c':
			for range runtime.GOMAXPROCS(0) {
				start()
			}
			return
		case 's':
			latest.Add(1)
		}
		raw(unix.SYS_WRITE, uintptr(fd), &request[0])
	})
	if err == nil {
		err = e.Add(event.NoTimeout)
	}
	if err == nil {
		err = l.RunForever(context.Background())
	}
	return err
}
