// Evio is an echo server on github.com/tidwall/evio. The library has no pool of goroutines, and no means to set TCP_NODELAY.
package main

import (
	"log"

	"github.com/tidwall/evio"

	"github.com/evmq/evmq/bench/internal/peer"
)

func main() {
	o := peer.Parse(peer.Pool, peer.Placement)
	events := evio.Events{
		NumLoops:    o.Loops,
		LoadBalance: evio.RoundRobin,
		Serving: func(s evio.Server) evio.Action {
			peer.Listening(s.Addrs[0])
			return evio.None
		},
		Opened: func(c evio.Conn) ([]byte, evio.Options, evio.Action) {
			if o.Line {
				c.SetContext(&input{})
			}
			return nil, evio.Options{ReuseInputBuffer: true}, evio.None // the library copies the answer
		},
		Data: func(_ evio.Conn, in []byte) ([]byte, evio.Action) { return in, evio.None },
	}
	if o.Line {
		events.Data = func(c evio.Conn, in []byte) ([]byte, evio.Action) { return lines(&o, c, in), evio.None }
	}
	if err := evio.Serve(events, "tcp://"+o.Addr); err != nil {
		log.Fatal(err)
	}
}

// input is an incomplete line. The buffer of the lines that were returned last is not written to until the library has copied them.
type input struct{ rest, last []byte }

// lines returns the complete lines and keeps the rest.
func lines(o *peer.Options, c evio.Conn, data []byte) []byte {
	in := c.Context().(*input)
	if len(in.rest) > 0 {
		in.rest = append(in.rest, data...)
		data = in.rest
	}
	done := 0
	for done < len(data) {
		n := o.Serve(data[done:])
		if n == 0 {
			break
		}
		done += n
	}
	rest := append(in.last[:0], data[done:]...) //nolint:gocritic // the two buffers are exchanged
	in.rest, in.last = rest, in.rest
	return data[:done]
}
