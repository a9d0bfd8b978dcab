package server_test

import (
	"net"
	"os"
	"testing"

	"github.com/evmq/evmq/server"
)

// TestAPipeHasNoReadDeadlineAfterSendFile: the end of a connection interrupts the reading of a pipe by a deadline, which is taken back
// also when the read had just ended by itself.
func TestAPipeHasNoReadDeadlineAfterSendFile(t *testing.T) {
	for range 200 { // the two meet in a few of a hundred
		r, w, err := os.Pipe()
		must(t, err)
		_, err = w.Write(make([]byte, 1000))
		must(t, err)
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
		must(t, nc.(*net.TCPConn).SetLinger(0))
		must(t, nc.Close())
		await(t, ended, "the end of SendFile")
		must(t, await(t, written, "the write"))
		must(t, s.Close()) // every goroutine of the server has ended
		_, err = w.Write([]byte("more"))
		must(t, err)
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatalf("read the pipe: %v", err)
		}
		must(t, r.Close())
		must(t, w.Close())
	}
}
