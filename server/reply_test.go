package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// endless answers a line with bytes until a write fails, and sends the error to failed.
func endless(failed chan<- error) *server.Dispatcher {
	return server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
		for piece := make([]byte, 10<<10); ; {
			if n, err := w.Write(piece); err != nil {
				failed <- err
				return
			} else if n != len(piece) {
				failed <- fmt.Errorf("wrote %d of %d bytes, without an error", n, len(piece))
				return
			}
		}
	})
}

// A reply of 20 MB holds no more memory than MaxOutput and the gathered bytes, and arrives whole.
func TestAReplyWaitsForRoom(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const limit, size = 64 << 10, 20 << 20
		const piece = 64 << 10 // of a long Write, which is added while there is less than the limit
		// The first and the last block of the output are used in part, the buffers of the input and of the reply may be those of earlier and
		// larger ones, and two records of TLS are counted twice.
		const overhead = 2*(16<<10) + 2*(16<<10) + 2*(16<<10) + 4<<10
		data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		s := start(t, r, &server.Server{MaxOutput: limit, Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			if n, err := w.Write(data); n != size || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
		})})
		nc := s.dial(t)
		send(t, nc, "go\n")
		var got bytes.Buffer
		for got.Len() < size {
			if _, err := io.CopyN(&got, nc, 1<<20); err != nil {
				t.Fatal(err)
			}
			for c := range s.Conns() {
				if held := c.Stats().BufferedBytes; held >= limit+piece {
					t.Fatalf("%d bytes wait, the limit is %d", held, limit)
				}
			}
			if held := s.Stats().BufferedBytes; held >= limit+piece+overhead {
				t.Fatalf("%d bytes are held, with the memory around the bytes that wait; the limit is %d", held, limit)
			}
		}
		if !bytes.Equal(got.Bytes(), data) {
			t.Error("the reply is not what was written")
		}
		hangUp(nc)
		s.shutdown(t)
	})
}

// The Write fails with the reason: the peer's end, WriteTimeout, Abort, or the deadline of Shutdown.
func TestAReplysWriteEndsWithTheConnection(t *testing.T) {
	ended := errors.New("enough")
	for name, row := range map[string]struct {
		end    func(s *running, nc net.Conn, c *server.Conn)
		reason error
	}{
		"peer gone":     {func(_ *running, nc net.Conn, _ *server.Conn) { nc.Close() }, nil},
		"abort":         {func(_ *running, _ net.Conn, c *server.Conn) { c.Abort() }, server.ErrAborted},
		"write timeout": {func(_ *running, _ net.Conn, c *server.Conn) { c.SetTimeouts(server.Timeouts{Write: time.Millisecond}) }, server.ErrWriteTimeout},
		"shutdown": {func(s *running, _ net.Conn, _ *server.Conn) {
			ctx, cancel := context.WithCancelCause(context.Background())
			cancel(ended)
			var late *server.ShutdownError
			if err := s.Shutdown(ctx); !errors.Is(err, ended) || !errors.As(err, &late) || late.Conns != 1 {
				panic(fmt.Sprintf("Shutdown: %v", err))
			}
		}, server.ErrServerClosed},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				failed := make(chan error, 1)
				d := endless(failed)
				conns := make(chan *server.Conn, 1)
				d.Opened = func(c *server.Conn) { conns <- c }
				reasons, closed := closings()
				d.Closed = closed
				s := start(t, r, &server.Server{Handler: d})
				nc := s.dial(t)
				send(t, nc, "go\n")
				c := testkit.Await(t, conns, "Open")
				testkit.Until(t, "a full output", func() bool { return c.Stats().BufferedBytes >= server.DefaultMaxOutput })
				row.end(s, nc, c)
				err := testkit.Await(t, failed, "the end of the write")
				testkit.CheckErr(t, "Write", err, server.ErrClosed)
				reason := testkit.Await(t, reasons, "Close")
				if row.reason != nil {
					testkit.CheckErr(t, "Write", err, row.reason)
					testkit.CheckErr(t, "Close", reason, row.reason)
				}
				hangUp(nc)
				if name != "shutdown" {
					s.shutdown(t)
				}
				testkit.Until(t, "an empty account", func() bool { return s.Stats().BufferedBytes == 0 })
			})
		})
	}
}

// The bytes of each Write are contiguous.
func TestTheBytesOfEachWriteToAReplyAreContiguous(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const writers, lines = 4, 300
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
			var all sync.WaitGroup
			for i := range writers {
				all.Go(func() {
					for n := range lines {
						_, err := w.WriteString(strings.Repeat(string(rune('a'+i)), 100) + "\n")
						if err == nil && n%50 == 0 {
							err = w.Flush()
						}
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
		})})
		nc := s.dial(t)
		send(t, nc, "go\n")
		in := bufio.NewReader(nc)
		counts := map[string]int{}
		for range writers * lines {
			line, err := in.ReadString('\n')
			testkit.Must(t, err)
			if line != strings.Repeat(line[:1], 100)+"\n" {
				t.Fatalf("a line is torn: %q", line)
			}
			counts[line[:1]]++
		}
		if len(counts) != writers || counts["a"] != lines {
			t.Errorf("lines of each writer: %v", counts)
		}
		hangUp(nc)
		s.shutdown(t)
	})
}

func TestAReplyEndsWithItsFunction(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		replies := make(chan server.Reply, 1)
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
			_, _ = w.WriteString("done\n")
			replies <- w
		})})
		nc := s.dial(t)
		send(t, nc, "go\n")
		expect(t, nc, "done\n")
		w := <-replies
		_, err := w.WriteString("late")
		testkit.CheckErr(t, "Write", err, server.ErrReplyEnded)
		testkit.CheckErr(t, "Flush", w.Flush(), server.ErrReplyEnded)
		closeWrite(t, nc)
		expectEOF(t, nc)
		s.shutdown(t)
	})
}

// A handler may wait for nothing else. The context also ends at the deadline of Shutdown.
func TestContextEndsWithTheConnection(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		begun, causes := make(chan struct{}), make(chan error)
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
			begun <- struct{}{}
			<-w.Context().Done()
			causes <- context.Cause(w.Context())
		})})
		nc := s.dial(t)
		send(t, nc, "go\n")
		testkit.Await(t, begun, "the request")
		for c := range s.Conns() {
			c.Abort()
		}
		testkit.CheckErr(t, "the cause", testkit.Await(t, causes, "the context's end"), server.ErrAborted)

		testkit.Until(t, "the connection's end", func() bool { return s.Stats().OpenConns == 0 })
		nc = s.dial(t)
		send(t, nc, "go\n")
		testkit.Await(t, begun, "the request")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(ctx) }()
		testkit.CheckErr(t, "the cause", testkit.Await(t, causes, "the context's end"), server.ErrServerClosed)
		var late *server.ShutdownError
		if err := testkit.Await(t, ended, "Shutdown's end"); !errors.As(err, &late) || late.Conns != 1 {
			t.Errorf("Shutdown: %v", err)
		}
	})
}
