// Netpoll is an echo server on github.com/cloudwego/netpoll. The library gives each request to its pool of goroutines, where a handler may block,
// so both modes are the same.
package main

import (
	"context"
	"log"

	"github.com/cloudwego/netpoll"

	"github.com/evmq/evmq/bench/internal/peer"
)

func main() {
	o := peer.Parse(peer.Placement)
	if err := netpoll.Configure(netpoll.Config{PollerNum: o.Loops}); err != nil {
		log.Fatal(err)
	}
	answer := raw
	if o.Line {
		answer = lines
	}
	loop, err := netpoll.NewEventLoop(func(_ context.Context, c netpoll.Connection) error {
		if err := answer(&o, c); err != nil {
			return c.Close() // otherwise the library would call this function again and again while there is input
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := netpoll.CreateListener("tcp", o.Addr)
	if err != nil {
		log.Fatal(err)
	}
	peer.Listening(ln.Addr())
	log.Fatal(loop.Serve(ln))
}

// raw sends the bytes back that have been read. TCP_NODELAY is set by the library. Errors are those of a connection that is gone.
func raw(_ *peer.Options, c netpoll.Connection) error {
	data, err := c.Reader().Peek(c.Reader().Len())
	if err != nil {
		return err
	}
	return send(c, data)
}

// send writes data, the beginning of the input of c, and consumes it. The data is written when Flush returns.
func send(c netpoll.Connection, data []byte) error {
	if _, err := c.Writer().WriteBinary(data); err != nil {
		return err
	}
	if err := c.Writer().Flush(); err != nil {
		return err
	}
	if err := c.Reader().Skip(len(data)); err != nil {
		return err
	}
	return c.Reader().Release()
}

// lines answers lines until all input is consumed. It waits for the end of an incomplete line.
func lines(o *peer.Options, c netpoll.Connection) error {
	in := c.Reader()
	for in.Len() > 0 {
		data, err := in.Peek(in.Len())
		if err != nil {
			return err
		}
		if n := o.Serve(data); n > 0 {
			err = send(c, data[:n])
		} else {
			_, err = in.Peek(len(data) + 1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
