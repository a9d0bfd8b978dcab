package server_test

import (
	"io"
	"runtime"
	"testing"

	"github.com/evmq/evmq/server"
)

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// allocations is how many objects the process allocates, for each of n calls of fn.
func allocations(n int, fn func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		fn()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n)
}

// TestAnEchoAllocatesNothing: a message that comes and an answer that goes, on the loop, through the queue, and owned. The
// whole process is counted, the client included.
func TestAnEchoAllocatesNothing(t *testing.T) {
	const rounds, noise = 10_000, 0.05 // whatever else the process does meanwhile
	each(t, func(t *testing.T, r rig) {
		answer := []byte("sixty-four bytes of an answer that is always the same, and long.")
		release := func(error) {}
		queued := make(chan *server.Conn)
		defer close(queued)
		go func() {
			for c := range queued {
				if _, err := c.Write(answer); err != nil {
					t.Error(err)
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
			allocations(rounds/10, round) // what is made once
			if n := allocations(rounds, round); n > noise && !r.tls {
				t.Errorf("%s: %.2f allocations for each message", how, n)
			} else if n > noise {
				t.Logf("%s, with TLS: %.2f allocations for each message", how, n)
			}
		}
	})
}
