package server_test

import (
	"io"
	"runtime"
	"testing"

	"github.com/evmq/evmq/server"
)

// heap returns the number of bytes in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// allocations returns the number of objects that the process allocates for a call of fn: the least of many short runs, since pools may be
// emptied at any time, and lose objects at random in race builds. The first run with at most enough for a call is the last.
func allocations(enough float64, fn func()) float64 {
	const runs = 1000
	calls := 10
	if server.AssertsLoop {
		calls = 1 // with more, a request that uses several pools rarely finds all of them full in a race build
	}
	least := uint64(1 << 60)
	perCall := func() float64 { return float64(least) / float64(calls) }
	for range runs {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range calls {
			fn()
		}
		runtime.ReadMemStats(&after)
		if least = min(least, after.Mallocs-before.Mallocs); perCall() <= enough {
			break
		}
	}
	return perCall()
}

// A message and its answer are written on the loop, through the queue, and as an owned slice. The allocations of the client count, too.
func TestAnEchoAllocatesNothing(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		answer := []byte("sixty-four bytes of an answer that is always the same, and long.")
		release := func(error) {}
		queued := make(chan *server.Conn)
		go func() {
			for {
				select {
				case c := <-queued:
					if _, err := c.Write(answer); err != nil {
						t.Error(err)
					}
				case <-t.Context().Done():
					return
				}
			}
		}()
		for how, answerIt := range map[string]func(c *server.Conn) error{
			"on the loop":       func(c *server.Conn) error { return second(c.Write(answer)) },
			"through the queue": func(c *server.Conn) error { queued <- c; return nil },
			"owned":             func(c *server.Conn) error { return c.WriteOwned(answer, release) },
		} {
			p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { return len(p), answerIt(c) }})
			s := start(t, r, &server.Server{Handler: p})
			_, nc := p.connect(t, s)
			buf := make([]byte, len(answer))
			round := func() {
				if _, err := nc.Write(answer); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(nc, buf); err != nil {
					t.Fatal(err)
				}
			}
			most := 0.0
			if r.tls {
				most = 6 // of crypto/tls, at both ends
			}
			if n := allocations(most, round); n > most {
				t.Errorf("%s: %.1f allocations for each message, want %.0f", how, n, most)
			}
		}
	})
}
