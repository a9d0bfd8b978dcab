package server_test

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// TestWritesToTheConnectionDoNotKeepAReplyFromItsRoom fills the output with pushes after a long reply that has begun: they wait for its
// end, so it must not wait for them.
func TestWritesToTheConnectionDoNotKeepAReplyFromItsRoom(t *testing.T) {
	const limit = 64 << 10
	const begun = limit + limit/2 // more than is gathered
	var pushed atomic.Int64
	long := bytes.Repeat([]byte("reply "), limit/2)
	h := echoLines()
	h.Serve = func(w server.Reply, _ []byte) {
		c := w.Conn()
		_, _ = w.Write(long[:begun]) // a failure shows in the answers
		for pushed.Load() < limit {  // until nothing else fills the output
			if n, err := c.Write(make([]byte, 1000)); err == nil {
				pushed.Add(int64(n))
			} else {
				runtime.Gosched()
			}
		}
		_, _ = w.Write(long[begun:])
	}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h, MaxOutput: limit})
	nc := s.dial(t)
	send(t, nc, "request\n")
	expect(t, nc, string(long))
	closeWrite(t, nc)
	rest, err := io.ReadAll(nc)
	if err != nil || int64(len(rest)) != pushed.Load() || pushed.Load() == 0 {
		t.Errorf("%d bytes were pushed, %d came, %v", pushed.Load(), len(rest), err)
	}
}

// TestANewHandlerWaitsForConcurrentRequests changes the handler while several requests are in progress: the next message is handled when they
// are answered, and its answer follows theirs.
func TestANewHandlerWaitsForConcurrentRequests(t *testing.T) {
	onLoop := server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) { return c.Write(p) })
	onWorkers := echoLines()
	for name, next := range map[string]server.Handler{"on the loop": onLoop, "on workers": onWorkers} {
		t.Run(name, func(t *testing.T) {
			changed, release := make(chan struct{}), make(chan struct{})
			h := echoLines()
			h.Concurrent = 4
			h.Serve = func(w server.Reply, line []byte) {
				if string(line) == "slow" {
					<-release
				} else {
					testkit.Must(t, w.Conn().SetHandler(next))
					close(changed)
				}
				_, _ = w.Write(append(line, '\n'))
			}
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h})
			nc := s.dial(t)
			send(t, nc, "slow\nchange\n")
			testkit.Await(t, changed, "the change")
			var rest strings.Builder
			for range 100 {
				rest.WriteString("line\n")
			}
			send(t, nc, rest.String())
			testkit.Until(t, "the input", func() bool { return s.Stats().BytesRead >= uint64(len("slow\nchange\n")+5) })
			close(release)
			expect(t, nc, "slow\nchange\n"+rest.String())
		})
	}
}

// TestHalfClosedClientsGetAllAnswers makes slow clients half-close while their requests wait for room in the output.
func TestHalfClosedClientsGetAllAnswers(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		answer := strings.Repeat("x", 10<<10) + "\n"
		for name, h := range map[string]server.Handler{
			"workers": func() server.Handler {
				d := echoLines()
				d.Serve = func(w server.Reply, _ []byte) { _, _ = w.WriteString(answer) }
				return d
			}(),
			"loop": server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) {
				if i := bytes.IndexByte(p, '\n'); i >= 0 {
					c.PauseRead(nil)
					_, err := c.WriteString(answer)
					go c.ResumeRead(nil)
					return i + 1, err
				}
				return 0, nil
			}),
		} {
			t.Run(name, func(t *testing.T) {
				s := start(t, r, &server.Server{Handler: h, MaxOutput: 1 << 20, HighWater: 20 << 10})
				nc := s.dial(t)
				send(t, nc, strings.Repeat("request\n", 1000))
				closeWrite(t, nc)
				got, err := io.ReadAll(nc)
				if want := 1000 * len(answer); err != nil || len(got) != want {
					t.Errorf("%d of %d bytes came, %v", len(got), want, err)
				}
			})
		}
	})
}
