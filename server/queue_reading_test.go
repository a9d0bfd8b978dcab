package server_test

import (
	"context"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The handler may permit more requests at once. All are answered, in their order, when there is room.
func TestAConnectionWhoseRequestFindsTheQueueFullIsNotRead(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		r.loops = 1
		release := make(chan struct{})
		opened := newProbe(calls{})
		d := several(10, func(w server.Reply, line []byte) {
			<-release
			_, _ = w.Write(append(line, '\n'))
		})
		d.Opened = opened.Open
		s := start(t, r, &server.Server{Workers: 1, Queue: 1, Handler: d})
		c, nc := opened.connect(t, s)
		turns := echoRounds(t, s)
		send(t, nc, "a\n")
		testkit.Until(t, "a request in progress", func() bool { return s.Stats().RunningRequests == 1 })
		send(t, nc, "b\n")
		testkit.Until(t, "a full queue", func() bool { return s.Stats().QueuedRequests == 1 })
		send(t, nc, "c\n")
		testkit.Until(t, "a request that waits for room", func() bool { return c.Stats().BytesRead == 6 })
		turns()
		for range 100 {
			send(t, nc, "d\n")
		}
		turns()
		if n := c.Stats().BytesRead; n != 6 {
			t.Errorf("%d bytes of the connection were read; want the 6 before the queue was full", n)
		}
		close(release)
		expect(t, nc, "a\nb\nc\n")
		for range 100 {
			expect(t, nc, "d\n")
		}
		send(t, nc, "e\n")
		expect(t, nc, "e\n")
		hangUp(nc)
		s.shutdown(t)
		s.drained(t)
	})
}

// echoRounds returns a function that makes the server's loop read what has arrived: another connection gets echoes in two turns.
func echoRounds(t *testing.T, s *running) (turns func()) {
	t.Helper()
	ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: calls{data: echo}})
	testkit.Must(t, err)
	nc := (&running{s.Server, rig{"tcp", s.rig.tls, 1}, ln.Addr()}).dial(t)
	return func() {
		for range 3 {
			send(t, nc, "turn")
			expect(t, nc, "turn")
		}
	}
}
