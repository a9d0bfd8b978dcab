package server_test

import (
	"net"
	"os"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The end of a connection interrupts the reading of a pipe by a deadline, which is removed also when the read has just ended by itself.
func TestAPipeHasNoReadDeadlineAfterSendFile(t *testing.T) {
	for range 200 { // they coincide in a few of a hundred
		r, w, err := os.Pipe()
		testkit.Must(t, err)
		_, err = w.Write(make([]byte, 1000))
		testkit.Must(t, err)
		ended := make(chan error, 1)
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
			return len(p), c.SendFile(r, 0, 1<<20, func(err error) { ended <- err })
		}}})
		nc := s.dialPlain(t)
		send(t, nc, "x")
		expect(t, nc, "\x00")
		written := make(chan error, 1)
		go func() {
			_, err := w.Write(make([]byte, 1000))
			written <- err
		}()
		testkit.Must(t, nc.(*net.TCPConn).SetLinger(0))
		testkit.Must(t, nc.Close())
		testkit.Await(t, ended, "the end of SendFile")
		testkit.Must(t, testkit.Await(t, written, "the write"))
		testkit.Must(t, s.Close()) // every goroutine of the server has ended
		_, err = w.Write([]byte("more"))
		testkit.Must(t, err)
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatalf("read the pipe: %v", err)
		}
		testkit.Must(t, r.Close())
		testkit.Must(t, w.Close())
	}
}
