package server_test

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// sendPipe starts a server whose handler sends from r, and a client that resets its connection when the first byte has come. ended receives
// the argument of done, and then closed that of Close. inDone is called in done.
func sendPipe(t *testing.T, r *os.File, inDone func()) (s *running, ended, closed chan error) {
	t.Helper()
	ended, closed = make(chan error, 1), make(chan error, 1)
	s = start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{
		data: func(c *server.Conn, p []byte) (int, error) {
			return len(p), c.SendFile(r, 0, 1<<20, func(err error) {
				inDone()
				if len(closed) > 0 {
					t.Error("done was called after Close")
				}
				ended <- err
			})
		},
		close: func(_ *server.Conn, reason error) { closed <- reason },
	}})
	nc := s.dialPlain(t)
	send(t, nc, "x")
	expect(t, nc, "\x00")
	testkit.Must(t, nc.(*net.TCPConn).SetLinger(0))
	testkit.Must(t, nc.Close())
	return s, ended, closed
}

// SendFile was reading it when the connection ended. In done nothing reads it any more, and it has no read deadline.
func TestAPipeIsItsOwnersAgainWhenDoneIsCalled(t *testing.T) {
	for range 50 {
		r, w, err := os.Pipe()
		testkit.Must(t, err)
		_, err = w.Write([]byte{0})
		testkit.Must(t, err)
		_, ended, closed := sendPipe(t, r, func() {
			if _, err := w.Write([]byte("mine")); err != nil {
				t.Error(err)
			}
			got := make([]byte, 10)
			if n, err := r.Read(got); err != nil || string(got[:n]) != "mine" {
				t.Errorf("read %q, %v in done", got[:n], err)
			}
		})
		testkit.CheckErr(t, "done", testkit.Await(t, ended, "done"), server.ErrClosed)
		testkit.Await(t, closed, "Close")
		testkit.Must(t, errors.Join(r.Close(), w.Close()))
	}
}

// blockingPipe is a pipe whose reads cannot be interrupted: package os does not wait for it in the runtime's poller.
func blockingPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	testkit.Must(t, unix.Pipe(fds[:]))
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

// done is called before Close.
func TestAReadThatCannotBeInterruptedEndsBeforeDone(t *testing.T) {
	r, w := blockingPipe(t)
	_, err := w.Write([]byte{0})
	testkit.Must(t, err)
	var mu sync.Mutex
	written := false
	s, ended, closed := sendPipe(t, r, func() {
		mu.Lock()
		defer mu.Unlock()
		if !written {
			t.Error("done was called while the file was read")
		}
	})
	nc := s.dialPlain(t) // another connection of the loop; when it is served, the loop has seen the reset
	testkit.Until(t, "the end of the first connection's output", func() bool { return s.Stats().BufferedBytes == 0 })
	mu.Lock()
	written = true
	_, err = w.Write([]byte("y"))
	mu.Unlock()
	testkit.Must(t, err)
	testkit.CheckErr(t, "done", testkit.Await(t, ended, "done"), server.ErrClosed)
	testkit.Await(t, closed, "Close")
	hangUp(nc)
}

// Shutdown returns after the end of its context. done is called when the read ends.
func TestAReadThatCannotBeInterruptedDoesNotDelayShutdown(t *testing.T) {
	t.Parallel()
	r, w := blockingPipe(t)
	_, err := w.Write([]byte{0})
	testkit.Must(t, err)
	ended, closed := make(chan error, 1), make(chan error, 1)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{
		data: func(c *server.Conn, p []byte) (int, error) {
			return len(p), c.SendFile(r, 0, 1<<20, func(err error) { ended <- err })
		},
		close: func(_ *server.Conn, reason error) { closed <- reason },
	}})
	nc := s.dialPlain(t)
	send(t, nc, "x")
	expect(t, nc, "\x00")
	returned := make(chan error, 1)
	go func() { returned <- s.Close() }()
	testkit.Await(t, closed, "Close")
	testkit.Await(t, returned, "the end of Close")
	if len(ended) > 0 {
		t.Error("done was called while the file was read")
	}
	_, err = w.Write([]byte("y"))
	testkit.Must(t, err)
	testkit.CheckErr(t, "done", testkit.Await(t, ended, "done"), server.ErrClosed)
}
