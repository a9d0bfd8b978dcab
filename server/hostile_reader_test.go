package server_test

import (
	"bufio"
	"context"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// For each way to answer, its output, with the overhead, does not exceed MaxOutput and one write, few files are open, another client is
// served meanwhile, and nothing is left after its end.
func TestLimitsBoundAClientThatReadsNothing(t *testing.T) {
	t.Parallel()
	const maxOutput, answer = 256 << 10, 8 << 10
	p := make([]byte, answer)
	var files atomic.Int64
	ways := waysToWrite(t, p, &files)
	handlers := map[string]server.Handler{
		"Reply": server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) { _, _ = w.Write(p) }),
	}
	for name, write := range ways {
		handlers[name] = calls{data: func(c *server.Conn, p []byte) (int, error) { return 2, write(c) }}
		handlers[name+" on a worker"] = server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) { _ = write(w.Conn()) })
	}
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h, MaxOutput: maxOutput, Socket: tight(), CloseTimeout: brief})
			ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: echoLines()})
			testkit.Must(t, err)
			other := (&running{s.Server, s.rig, ln.Addr()}).dial(t)
			nc := s.dial(t)
			testkit.Must(t, nc.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
			_, _ = nc.Write([]byte(strings.Repeat("g\n", 10_000))) // may fail: the server stops reading
			for range 50 {
				testkit.Must(t, pipelined(other, "still served", 1))
				if n := s.Stats().BufferedBytes; n > maxOutput+2*answer+128<<10 { // and its input, twice
					t.Fatalf("%d bytes are kept for a client that reads nothing", n)
				}
				if n := files.Load(); n > maxOutput/(16<<10) {
					t.Fatalf("%d files are open for a client that reads nothing", n)
				}
			}
			hangUp(nc)
			hangUp(other)
			s.shutdown(t)
			if st := s.Stats(); st.BufferedBytes != 0 || files.Load() != 0 {
				t.Errorf("%d files, %+v", files.Load(), st)
			}
		})
	}
}

// waysToWrite returns the ways in which a handler may write p, or a file of its size; files counts the open ones.
func waysToWrite(t *testing.T, p []byte, files *atomic.Int64) map[string]func(c *server.Conn) error {
	t.Helper()
	f, text := writeFile(t, noise(len(p))), string(p)
	return map[string]func(c *server.Conn) error{
		"Write":       func(c *server.Conn) error { _, err := c.Write(p); return err },
		"WriteString": func(c *server.Conn) error { _, err := c.WriteString(text); return err },
		"Writev":      func(c *server.Conn) error { _, err := c.Writev([][]byte{p, p}); return err },
		"WriteNotify": func(c *server.Conn) error { return c.WriteNotify(p[:1], func(error) {}) },
		"WriteOwned":  func(c *server.Conn) error { return c.WriteOwned(p[:1], nil) },
		"Broadcast": func(c *server.Conn) error {
			for _, r := range server.Broadcast([]*server.Conn{c}, p[:10], nil) {
				return r.Err
			}
			return nil
		},
		"SendFile": func(c *server.Conn) error {
			file, err := os.Open(f.Name())
			if err != nil {
				return err
			}
			files.Add(1)
			closeFile := func(error) { _ = file.Close(); files.Add(-1) }
			err = c.SendFile(file, 0, int64(len(p)), closeFile)
			if err != nil {
				closeFile(err)
			}
			return err
		},
	}
}
