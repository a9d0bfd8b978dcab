// Handoff answers each line with the same line. One goroutine, the loop, does all input and output, workers do the work that takes time,
// and a queue carries the answers back to the loop. The loop asks the kernel which descriptors are ready, and calls a function for each.
// These functions must not block, because all clients would wait, and need no lock: everything below except the workers runs on the loop.
//
//	go run ./examples/handoff -workers 4 -delay 20ms    # and in other terminals: go run ./examples/connect 127.0.0.1:7000
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"syscall"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/msgqueue"
	"golang.org/x/sys/unix"
)

const maxConns, maxLine = 10000, 64 << 10 // a longer line ends the connection

// A conn is a client. It waits for a line, then for a worker, then until the client has read the answer. So answers are in
// order, and the loop soon stops reading from a client that does not read. A conn is never closed while a worker has its line.
type conn struct {
	readable  *event.Event
	in, line  []byte // input after line; the line that a worker has, then the unsent part of the answer
	busy, eof bool   // a worker has line, and the loop must not use it; no more input will be read
}

// A conn is in the channel or in the queue at most once, so there is always room in both. They carry the conn and not its
// descriptor, which is a number that may belong to another client by the time of the answer.
var (
	loop    = must(event.NewLoop(nil))
	conns   = map[*conn]bool{}
	jobs    = make(chan *conn, maxConns)
	answers = must(msgqueue.New(loop, func(c *conn) { c.busy = false; write(c) }, &msgqueue.Config{Bound: maxConns})) // the loop calls this
	buf     [maxLine]byte
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	workers := flag.Int("workers", 4, "number of lines that are processed at a time")
	delay := flag.Duration("delay", 0, "time that a worker takes for a line")
	flag.Parse()
	for range max(*workers, 1) {
		go func() {
			for c := range jobs {
				time.Sleep(*delay)  // stands for a database, a disk, a long calculation
				_ = answers.Push(c) // never waits, and wakes the loop if it sleeps
			}
		}()
	}
	l := must(net.Listen("tcp", *addr)).(*net.TCPListener)
	var listener *event.Event
	check(must(l.SyscallConn()).Control(func(fd uintptr) {
		listener = must(loop.NewEvent(int(fd), event.Read|event.Persist, accept))
	}))
	check(listener.Add(event.NoTimeout))
	check(must(loop.NewTicker(report)).Add(time.Second))
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		check(must(loop.NewSignal(sig, func(*event.Event, event.Flags) { check(loop.Exit(0)) })).Add(event.NoTimeout))
	}
	fmt.Println("listening on", l.Addr())
	check(loop.Run(context.Background())) // until a signal; then main alone uses the loop, and finishes the lines that were begun
	check(listener.Finalize(func(*event.Event) { check(l.Close()) }))
	for c := range conns {
		c.eof = true
		advance(c)
	}
	check(loop.Exit(10 * time.Second)) // the limit for this; a second signal ends it at once
	for len(conns) > 0 && loop.RunOnce(context.Background()) == nil && !loop.GotExit() {
	}
	fmt.Println("stopped:", len(conns), "connections cut,", len(answers.Close()), "answers lost")
	check(loop.Close())
}

func accept(listener *event.Event, _ event.Flags) {
	fd, _, err := unix.Accept(listener.FD())
	switch {
	case err == unix.EAGAIN: // the client has closed the connection already
	case err != nil: // no descriptor is free: stop accepting for a while, since the listener stays ready
		check(listener.Del())
		must(loop.AfterFunc(100*time.Millisecond, func() { _ = listener.Add(event.NoTimeout) }))
	case len(conns) == maxConns:
		_ = unix.Close(fd)
	default:
		check(unix.SetNonblock(fd, true))
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		c := new(conn)
		c.readable = must(loop.NewEvent(fd, event.Read|event.Persist, func(*event.Event, event.Flags) { read(c) }))
		conns[c] = true
		advance(c)
	}
}

func read(c *conn) {
	if n, err := unix.Read(c.readable.FD(), buf[:maxLine-len(c.in)]); err != unix.EAGAIN {
		c.in = append(c.in, buf[:max(n, 0)]...)
		c.eof = n <= 0 // the client may have closed its sending half only, and still reads
		advance(c)
	}
}

// advance takes the next step for c: it passes a line to the workers, or closes c; then it continues or pauses reading.
func advance(c *conn) {
	if !c.busy && len(c.line) == 0 {
		if end := bytes.IndexByte(c.in, '\n') + 1; end > 0 {
			c.line, c.in, c.busy = c.in[:end], c.in[end:], true
			jobs <- c
		} else if c.eof || len(c.in) == maxLine {
			check(c.readable.Del()) // before the descriptor is closed
			_ = unix.Close(c.readable.FD())
			delete(conns, c)
			return
		}
	}
	if c.eof || len(c.in) == maxLine || !c.busy && len(c.line) > 0 {
		check(c.readable.Del())
	} else {
		check(c.readable.Add(event.NoTimeout))
	}
}

func write(c *conn) {
	n, err := unix.Write(c.readable.FD(), c.line)
	if err != nil && err != unix.EAGAIN {
		c.in, c.line, c.eof = nil, nil, true // the client is gone
	}
	if c.line = c.line[max(n, 0):]; len(c.line) > 0 { // the client reads slowly, and the kernel's buffer is full
		must(loop.Once(c.readable.FD(), event.Write, event.NoTimeout, func(event.Flags) { write(c) }))
	}
	advance(c)
}

func report(*event.Event, event.Flags) {
	l, q := loop.Stats(), answers.Stats()
	fmt.Printf("turns %d wakes %d coalesced %d callbacks %d busy %.1f%% pushed %d delivered %d longest %d connections %d\n",
		l.Turns, l.Wakes, l.Coalesced, l.Callbacks, 100*l.Busy(), q.Pushed, q.Delivered, q.MaxLen, len(conns))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
func must[T any](v T, err error) T { check(err); return v }
