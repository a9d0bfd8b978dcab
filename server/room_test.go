package server_test

import (
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Both match ErrFull.
func TestRefusalsForTheConnectionAndForTheServerDiffer(t *testing.T) {
	for _, row := range []struct {
		srv    *server.Server
		server bool
	}{{&server.Server{MaxOutput: 100 << 10}, false}, {&server.Server{MaxBuffered: 100 << 10}, true}} {
		p := newProbe(calls{})
		row.srv.Handler, row.srv.Socket = p, tight()
		s := start(t, rig{"tcp", false, 1}, row.srv)
		c, _ := p.connect(t, s)
		var err error
		for err == nil {
			_, err = c.Write(make([]byte, 10<<10))
		}
		if !errors.Is(err, server.ErrFull) || errors.Is(err, server.ErrServerFull) != row.server {
			t.Errorf("the refusal is %v; of the server: want %v", err, row.server)
		}
	}
}

// The connections are on all loops, one of which is closed.
func TestAllThatTheServerRefusedAreNotifiedOfRoom(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const n = 20
		low := make(chan *server.Conn, 100)
		p := newProbe(calls{})
		s := start(t, r, &server.Server{MaxBuffered: 500 << 10, Socket: tight(),
			Handler: markProbe{p, func(*server.Conn) {}, func(c *server.Conn) { offer(low, c) }}})
		full, nc := p.connect(t, s)
		var clients []net.Conn
		wanted := map[*server.Conn]bool{}
		for range n {
			c, nc := p.connect(t, s)
			wanted[c] = true
			clients = append(clients, nc)
		}
		gone, goneClient := p.connect(t, s)
		held, gate := make(chan struct{}), make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		defer open()
		testkit.Must(t, full.Loop().Post(func() { close(held); <-gate }))
		testkit.Await(t, held, "a loop that waits, and gives the kernel nothing")
		for err := error(nil); err == nil; {
			_, err = full.Write(make([]byte, 100<<10))
		}
		for c := range wanted {
			_, err := c.WriteString("x")
			testkit.CheckErr(t, "a write", err, server.ErrServerFull)
		}
		_, err := gone.WriteString("x")
		testkit.CheckErr(t, "a write", err, server.ErrServerFull)
		gone.Abort()
		hangUp(goneClient)
		full.Abort()
		hangUp(nc)
		open()
		for len(wanted) > 0 {
			c := testkit.Await(t, low, "LowWater")
			if _, err := c.WriteString("x"); wanted[c] && err != nil {
				t.Errorf("a write after LowWater: %v", err)
			}
			delete(wanted, c)
		}
		hangUp(clients...)
		s.shutdown(t)
		s.drained(t)
	})
}
