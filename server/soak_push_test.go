package server_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/evmq/evmq/server"
)

// push pushes to connections until the server has ended, as the pusher with the number.
func (s *soak) push(rng *rand.Rand, number int) {
	for !s.isDown() {
		if l := s.someLink(rng); l != nil {
			s.pushFrom(l, number, rng)
		}
		if rng.IntN(4) == 0 {
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
		}
	}
}

// isDown reports whether Shutdown has closed all connections, or the run has failed.
func (s *soak) isDown() bool {
	select {
	case <-s.failed:
		return true
	default:
		return s.stopping.Load() && s.srv.Stats().OpenConns == 0
	}
}

func (s *soak) someLink(rng *rand.Rand) *link {
	s.liveMu.Lock()
	defer s.liveMu.Unlock()
	if len(s.live) == 0 {
		return nil
	}
	return s.live[rng.IntN(len(s.live))]
}

// pushFrom pushes one frame and counts it if it is accepted, so that the client can check that it has received all.
func (s *soak) pushFrom(l *link, pusher int, rng *rand.Rand) {
	c := l.conn.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	f := frame{tag: tagPush, kind: byte(pusher), link: l.id, seq: l.pushed[pusher], body: s.someNoise(rng, someSize(rng)/8)}
	switch err := s.write(c, l, f.append(nil), rng.IntN(soakWays), f); {
	case err == nil:
		l.pushed[pusher]++
	case !errors.Is(err, server.ErrFull) && !errors.Is(err, server.ErrClosed):
		s.fail("push to %v: %v", l, err)
	}
}

// broadcast writes to all connections, repeatedly.
func (s *soak) broadcast(rng *rand.Rand) {
	for n := uint32(0); !s.isDown(); n++ {
		s.liveMu.Lock()
		links := slices.Clone(s.live)
		s.liveMu.Unlock()
		slices.SortFunc(links, func(a, b *link) int { return int(a.id) - int(b.id) })
		s.broadcastTo(links, frame{tag: tagBroadcast, seq: n, body: s.someNoise(rng, someSize(rng)/16)})
		time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
	}
}

func (s *soak) broadcastTo(links []*link, f frame) {
	conns := make([]*server.Conn, len(links))
	outcomes := make(map[*server.Conn]*outcome)
	for i, l := range links {
		l.mu.Lock() // all of them, in the order of their numbers
		defer l.mu.Unlock()
		c := l.conn.Load()
		conns[i], outcomes[c] = c, s.await(c, l, f)
	}
	refused := map[*server.Conn]bool{}
	for _, r := range server.Broadcast(conns, f.append(nil), func(c *server.Conn, err error) { outcomes[c].done(err) }) {
		refused[r.Conn] = true
		outcomes[r.Conn].accepted(r.Err)
		if !errors.Is(r.Err, server.ErrFull) && !errors.Is(r.Err, server.ErrClosed) {
			s.fail("broadcast: %v", r.Err)
		}
	}
	for i, l := range links {
		if !refused[conns[i]] {
			l.casts++
		}
	}
}
