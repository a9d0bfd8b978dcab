package websocket_test

import (
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// An echo of 1 KB, on the loop and on workers.
func TestAnEchoDoesNotAllocate(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("in race builds sync.Pool loses objects at random")
	}
	both(t, func(t *testing.T, placement server.Placement) {
		s := start(t, &websocket.Config{Message: echo, Placement: placement})
		p := s.dial(t, "")
		out := text(hello[:1024])
		in := make([]byte, 4+1024)
		trip := func() {
			if _, err := p.Write(out); err != nil {
				t.Fatal(err)
			}
			p.read(in)
		}
		for range 100 {
			trip()
		}
		if n := testing.AllocsPerRun(1000, trip); n > 0 {
			t.Errorf("%.2f allocations", n)
		}
	})
}

// Writes of other goroutines allocate nothing either, unless they ask for the outcome.
func TestAWriteDoesNotAllocate(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("in race builds sync.Pool loses objects at random")
	}
	s, opened := conns(t, websocket.Config{})
	p := s.dial(t, "")
	c := p.conn(opened)
	in := make([]byte, 4+1024)
	trip := func() {
		testkit.Must(t, c.WriteText(hello[:1024]))
		p.read(in)
	}
	for range 100 {
		trip()
	}
	if n := testing.AllocsPerRun(1000, trip); n > 0 {
		t.Errorf("%.2f allocations", n)
	}
}
