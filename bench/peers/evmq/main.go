// Evmq is an echo server on package server of this repository, with the flags of its peers. With -mode pool, requests are handled by a Dispatcher.
// On SIGUSR1 it writes to standard error where the requests of each route have run.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/evmq/evmq/bench/internal/peer"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// maxLine is the limit of a line. The libraries that it is compared with have none.
const maxLine = 16 << 20

func main() {
	o := peer.Parse()
	srv := &server.Server{NumLoops: o.Loops, Handler: handler(&o), MaxInput: maxLine}
	ln, err := srv.Listen(context.Background(), "tcp", o.Addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	peer.Listening(ln.Addr())
	for range asked {
		for _, route := range srv.RouteStats() {
			fmt.Fprintln(os.Stderr, route)
		}
	}
}

// placements are the values of -placement.
var placements = map[string]server.Placement{"": server.Adaptive, "adaptive": server.Adaptive, "loop": server.OnLoop, "workers": server.OnWorkers}

func handler(o *peer.Options) server.Handler {
	placement, known := placements[o.Placement]
	if !known {
		log.Fatalf("unknown -placement %s", o.Placement)
	}
	serve := func(w server.Reply, request []byte) { answer(o, w, request) }
	switch {
	case o.Pool && o.Line:
		d := &server.Dispatcher{Framing: framing.Split{Func: line, Max: maxLine}, Serve: serve, Placement: placement}
		if o.Slow {
			d.Route = kind
		}
		return d
	case o.Pool:
		return &server.Dispatcher{Framing: framing.Split{Func: everything, Max: maxLine}, Serve: serve, Placement: placement}
	case o.Line:
		return server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) { return lines(o, c, p) })
	}
	return server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) { return c.Write(p) })
}

// lines answers the complete lines. The server keeps the rest.
func lines(o *peer.Options, c *server.Conn, p []byte) (done int, err error) {
	for done < len(p) {
		n := o.Serve(p[done:])
		if n == 0 {
			break
		}
		if _, err := c.Write(p[done : done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// answer handles a request of a Dispatcher, which is a whole one.
func answer(o *peer.Options, w server.Reply, request []byte) {
	if o.Slow {
		o.Serve(request) // takes its time
	}
	if _, err := w.Write(request); err != nil && !errors.Is(err, server.ErrClosed) {
		log.Print(err)
	}
}

// kind is the route of a line: its first word, which says whether the request is slow.
func kind(line []byte) []byte {
	if word, _, ok := bytes.Cut(line, []byte(" ")); ok {
		return word
	}
	return nil
}

// line is a framing whose message is a line with its end.
func line(data []byte, _ bool) (int, []byte, error) {
	n := bytes.IndexByte(data, '\n') + 1
	if n == 0 {
		return 0, nil, nil
	}
	return n, data[:n], nil
}

// everything is a framing whose message is all bytes that have arrived.
func everything(data []byte, _ bool) (int, []byte, error) { return len(data), data, nil }
