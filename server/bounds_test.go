package server_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// attack is a server under an attack on its memory, and its clients.
type attack struct {
	*running
	limit   int64
	before  int64
	clients []net.Conn
}

// newAttack starts srv with a small MaxBuffered.
func newAttack(t *testing.T, r rig, srv *server.Server) *attack {
	t.Helper()
	const limit = 8 << 20
	srv.MaxBuffered = limit
	s := start(t, r, srv)
	return &attack{running: s, limit: limit, before: heap()}
}

// check wants the heap bounded by the server's limit and a little for each connection, when the server has done what it can.
func (a *attack) check(t *testing.T) {
	t.Helper()
	st := a.Stats()
	most := a.limit*3/2 + int64(st.Conns)<<10 + 1<<20 // and a MB for the test itself
	held := heap() - a.before
	t.Logf("%d KB are held, %d KB counted, with %d connections; the bound is %d KB", held>>10, st.Buffered>>10, st.Conns, most>>10)
	if held > most {
		t.Errorf("%d KB are held; the limit is %d KB, %d KB are counted, %d connections", held>>10, a.limit>>10, st.Buffered>>10, st.Conns)
	}
}

// TestEarlyAnswersCount: answers that wait for an older one are output that the server holds.
func TestEarlyAnswersCount(t *testing.T) {
	for _, size := range []int{1, 3 << 10, 16 << 10} {
		t.Run(fmt.Sprint("size=", size), func(t *testing.T) {
			const clients, each = 100, 64
			release := make(chan struct{})
			answer := strings.Repeat("x", size)
			d := &server.Dispatcher{Framing: framing.Lines(0), Concurrent: each, Serve: func(w server.Reply, m []byte) {
				if string(m) == "wait" {
					select {
					case <-release:
					case <-w.Context().Done():
					}
					return
				}
				_, _ = w.WriteString(answer)
			}}
			a := newAttack(t, rig{"tcp", false, 1}, &server.Server{Handler: d, Workers: clients + 8, Queue: server.Unlimited})
			for range clients {
				nc := a.dial(t)
				send(t, nc, "wait\n"+strings.Repeat("x\n", each-1))
				a.clients = append(a.clients, nc)
			}
			until(t, "the answers", func() bool {
				st := a.Stats()
				return st.Waiting == 0 && int64(st.Running) == int64(st.Conns) && st.BytesRead > 0 && st.Opened == clients
			})
			a.check(t)
			close(release)
			hangUp(a.clients...)
			until(t, "the end", func() bool { return a.Stats().Conns == 0 })
			a.drained(t)
		})
	}
}
