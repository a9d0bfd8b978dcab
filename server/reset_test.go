package server_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// A length above the limit ends its connection at once.
func TestHugeLengthsTakeNoMemory(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		for _, prefix := range []string{"\xff\xff\xff\xff\xff\xff\xff\xff", "\x80\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x01\x00\x01"} {
			reasons, closed := closings()
			s := start(t, r, &server.Server{Handler: &server.Dispatcher{Framing: framing.LengthPrefix{Size: 8, Order: binary.BigEndian},
				Serve: func(server.Reply, []byte) { t.Error("there is no message") }, Closed: closed}})
			nc := s.dial(t)
			send(t, nc, prefix+"x")
			expectEOF(t, nc)
			hangUp(nc)
			testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), framing.ErrTooLong)
		}
	})
}

// It ends the connection with the reason, and each accepted write has an outcome.
func TestAResetEndsTheConnectionInEveryState(t *testing.T) {
	t.Parallel()
	inAllRigs(t, func(t *testing.T, r rig) {
		if r.network != "tcp" {
			return
		}
		release := make(chan struct{})
		var p *probe
		d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			if string(line) == "wait" {
				<-release
			}
			_, _ = w.Write(make([]byte, 4<<20)) // fails when the client has disconnected
		})
		p = newProbe(calls{})
		d.Opened, d.Closed = p.Open, p.Close
		s := start(t, r, &server.Server{Handler: d, Socket: tight(), CloseTimeout: -1})
		for name, begin := range stagesOfAConnection(t) {
			c, nc := p.connect(t, s)
			done := make(chan error, 2)
			err := begin(c, nc, func(err error) { done <- err })
			if err != nil && err != errNone {
				t.Fatal(name, err)
			}
			onLoop(t, c, func() {})
			time.Sleep(5 * time.Millisecond) // mostly in the middle of the transfer
			reset(t, nc)
			if name == "a request in progress" {
				testkit.Until(t, "the notice of the reset", func() bool { _, e := c.WriteString("x"); return e != nil })
				release <- struct{}{}
			}
			if reason := testkit.Await(t, p.closed, name+": Close"); !isGone(reason) {
				t.Errorf("%s: Close was called with %v", name, reason)
			}
			if err == nil {
				if e := testkit.Await(t, done, name+": the outcome"); !isGone(e) || !errors.Is(e, server.ErrClosed) || len(done) > 0 {
					t.Errorf("%s: the outcome is %v", name, e)
				}
			}
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// stagesOfAConnection returns functions that bring a connection into a stage in which it may be reset. Each returns errNone if it writes
// nothing, and else calls done with the outcome of the write.
func stagesOfAConnection(t *testing.T) map[string]func(c *server.Conn, nc net.Conn, done func(error)) error {
	t.Helper()
	file := sparseFile(t, 32<<20)
	return map[string]func(c *server.Conn, nc net.Conn, done func(error)) error{
		"silence":               func(*server.Conn, net.Conn, func(error)) error { return errNone },
		"half a line":           func(_ *server.Conn, nc net.Conn, _ func(error)) error { send(t, nc, "no end"); return errNone },
		"a long reply":          func(_ *server.Conn, nc net.Conn, _ func(error)) error { send(t, nc, "go\n"); return errNone },
		"a request in progress": func(_ *server.Conn, nc net.Conn, _ func(error)) error { send(t, nc, "wait\n"); return errNone },
		"output": func(c *server.Conn, _ net.Conn, done func(error)) error {
			return c.WriteNotify(make([]byte, 8<<20), done)
		},
		"a file": func(c *server.Conn, _ net.Conn, done func(error)) error { return c.SendFile(file, 0, 32<<20, done) },
		"a pause": func(c *server.Conn, _ net.Conn, done func(error)) error {
			c.PauseRead(nil)
			return c.WriteNotify(make([]byte, 8<<20), done)
		},
		"a close": func(c *server.Conn, _ net.Conn, done func(error)) error {
			err := c.WriteNotify(make([]byte, 8<<20), done)
			c.Close()
			return err
		},
		"a half-close": func(c *server.Conn, _ net.Conn, done func(error)) error {
			err := c.WriteNotify(make([]byte, 8<<20), done)
			return errors.Join(err, c.CloseWrite())
		},
	}
}

var errNone = errors.New("nothing was written")

// sparseFile makes a file of n bytes without blocks on the disk.
func sparseFile(t *testing.T, n int64) *os.File {
	f, err := os.CreateTemp(t.TempDir(), "f")
	testkit.Must(t, err)
	t.Cleanup(func() { f.Close() })
	testkit.Must(t, f.Truncate(n))
	return f
}
