package server_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// whileBlocked runs a test with a client whose handler does not return, on each number of processors. The handler has begun on the only loop, and
// has lost it. release makes it return, and then the answer to it and to further requests of the client comes.
func whileBlocked(t *testing.T, test func(t *testing.T, s *running, h *holder, held net.Conn)) {
	t.Helper()
	needsLeaders(t)
	eachProcs(t, func(t *testing.T) {
		each(t, func(t *testing.T, r rig) {
			h := newHolder(server.OnLoop)
			s := start(t, r, &server.Server{NumLoops: 1, Workers: 4, Handler: h.Dispatcher, MaxOutput: 256 << 10, Socket: tight()})
			held := s.dial(t)
			send(t, held, "hold\n")
			if !testkit.Await(t, h.begun, "the handler") {
				t.Fatal("the handler runs on a worker")
			}
			testkit.Until(t, "another leader", func() bool { return s.routes().TakenOver >= 1 })
			test(t, s, h, held)
			hangUp(held)
			testkit.Must(t, s.Close())
			s.drained(t)
		})
	})
}

// connOf returns the server's end of the only connection for which is reports true.
func connOf(t *testing.T, s *running, is func(c *server.Conn) bool) (found *server.Conn) {
	t.Helper()
	for c := range s.Conns() {
		if is(c) {
			if found != nil {
				t.Fatal("several connections")
			}
			found = c
		}
	}
	return found
}

// PauseRead and ResumeRead of the connection of the handler, and of another one of the loop, do what they always do.
func TestPauseReadWorksWhileAHandlerBlocksTheLoop(t *testing.T) {
	whileBlocked(t, func(t *testing.T, s *running, h *holder, held net.Conn) {
		first := connOf(t, s, func(*server.Conn) bool { return true })
		other := s.dial(t)
		testkit.Must(t, pipelined(other, "other", 1))
		second := connOf(t, s, func(c *server.Conn) bool { return c != first })
		third := s.dial(t)
		for _, c := range []*server.Conn{first, second} {
			c.PauseRead(nil)
			onLoop(t, c, func() {})
		}
		send(t, held, "paused\n")
		send(t, other, "paused\n")
		before := second.Stats().BytesRead
		testkit.Must(t, pipelined(third, "third", 20))
		testkit.WantEqual(t, "bytes read in the pause", second.Stats().BytesRead, before)
		second.ResumeRead(nil)
		expect(t, other, "paused\n")
		close(h.release)
		expect(t, held, "hold\n")
		testkit.Must(t, pipelined(third, "third", 20))
		testkit.WantEqual(t, "bytes read of the handler's connection", first.Stats().BytesRead, 5)
		first.ResumeRead(nil)
		expect(t, held, "paused\n")
		hangUp(other, third)
	})
}

// Another connection of the loop reads by ReadInto, and that of the handler does so afterwards.
func TestReadIntoWorksWhileAHandlerBlocksTheLoop(t *testing.T) {
	whileBlocked(t, func(t *testing.T, s *running, h *holder, held net.Conn) {
		var lines *server.Dispatcher
		lines = placed(server.OnLoop, func(w server.Reply, line string) string {
			if size, ok := strings.CutPrefix(line, "into "); ok {
				n, _ := strconv.Atoi(size)
				wantNil(t, line, w.Conn().SetHandler(&intoBody{place: make([]byte, n), next: lines}))
			}
			return line
		})
		into := func(nc net.Conn) {
			for _, size := range []int{1, 1000, 200 << 10} {
				sent := fmt.Sprintf("into %d\n%s", size, noise(size))
				go func() { _, _ = io.WriteString(nc, sent) }()
				expect(t, nc, sent)
			}
		}
		c := connOf(t, s, func(*server.Conn) bool { return true })
		other := listenAlso(t, s, lines).dial(t)
		into(other)
		close(h.release)
		expect(t, held, "hold\n")
		testkit.Must(t, c.SetHandler(lines))
		onLoop(t, c, func() {})
		into(held)
		hangUp(other)
	})
}

// The input behind the handler, what the loop reads of another connection in a turn, and the output of one that does not read keep their limits.
func TestLimitsApplyWhileAHandlerBlocksTheLoop(t *testing.T) {
	whileBlocked(t, func(t *testing.T, s *running, h *holder, held net.Conn) {
		const much = 2 << 20
		c := connOf(t, s, func(*server.Conn) bool { return true })
		behind := strings.Repeat(strings.Repeat("b", 1023)+"\n", much>>10)
		go func() { _, _ = io.WriteString(held, behind) }()

		inTurn, all := map[uint64]int{}, make(chan int, 1)
		sum := 0
		direct := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			inTurn[turns(c)] += len(p)
			if sum += len(p); sum == much {
				all <- sum
			}
			return len(p), nil
		}})
		other := listenAlso(t, s, direct)
		flooded, flood := direct.connect(t, other)
		go func() { _, _ = flood.Write(make([]byte, much)) }()
		quick := s.dial(t)
		testkit.Must(t, pipelined(quick, "quick", 20)) // beside the flood
		testkit.Await(t, all, "the flood")
		onLoop(t, flooded, func() {
			for turn, n := range inTurn {
				if n > 64<<10+16<<10 {
					t.Errorf("%d bytes were read in turn %d", n, turn)
				}
			}
		})
		if n := fill(t, flooded, 4<<10); n > much {
			t.Errorf("%d bytes of output were accepted for a client that does not read", n)
		}
		if n := flooded.Stats().BufferedBytes; n > 256<<10+4<<10 {
			t.Errorf("%d bytes of output are kept, the limit is 256 KB", n)
		}
		if n := c.Stats().BytesRead; n > 5+2*64<<10 {
			t.Errorf("%d bytes behind a request that runs were read", n)
		}
		close(h.release)
		expect(t, held, "hold\n")
		expect(t, held, behind)
		hangUp(flood, quick)
	})
}

// A deadline of another connection does not wait until the handler returns.
func TestDeadlinesPassWhileAHandlerBlocksTheLoop(t *testing.T) {
	whileBlocked(t, func(t *testing.T, s *running, h *holder, held net.Conn) {
		first := connOf(t, s, func(*server.Conn) bool { return true })
		other := s.dial(t)
		testkit.Must(t, pipelined(other, "other", 1))
		second := connOf(t, s, func(c *server.Conn) bool { return c != first })
		second.SetTimeouts(server.Timeouts{Idle: time.Millisecond})
		_, _ = io.Copy(io.Discard, other) // until the deadline closes it
		hangUp(other)
		close(h.release)
		expect(t, held, "hold\n")
	})
}
