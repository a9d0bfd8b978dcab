package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Nothing is read even after ResumeRead, since the bytes belong to the new owner.
func TestNothingIsReadAfterDetach(t *testing.T) {
	var late atomic.Int32
	var detaching atomic.Bool
	p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
		if detaching.Load() {
			late.Add(int32(len(p)))
		}
		return len(p), nil
	}})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, Socket: tight(), MaxOutput: 16 << 20, HighWater: 15 << 20, LowWater: 14 << 20})
	c, nc := p.connect(t, s)
	c.PauseRead(nil)
	_, err := c.Write(make([]byte, 8<<20))
	testkit.Must(t, err)
	detaching.Store(true)
	got := make(chan []byte, 1)
	testkit.Must(t, c.Detach(func(nc net.Conn, rest []byte, err error) {
		if err == nil {
			b := make([]byte, 100)
			nc.SetReadDeadline(time.Now().Add(testkit.Patience))
			n, _ := nc.Read(b)
			rest = append(rest, b[:n]...)
			nc.Close()
		}
		got <- rest
	}))
	c.ResumeRead(nil)
	send(t, nc, "hello")
	for range 5 {
		twoTurns(t, c) // a loop that reads although it must not does so now
	}
	io.CopyN(io.Discard, nc, 8<<20)
	if rest := testkit.Await(t, got, "Detach"); !bytes.Equal(rest, []byte("hello")) || late.Load() > 0 {
		t.Errorf("rest is %q, Data was given %d bytes", rest, late.Load())
	}
}

// Its descriptor's number may belong to another socket from then on, whose address must not be returned.
func TestADetachedConnectionHasNoLocalAddr(t *testing.T) {
	addr := make(chan net.Addr, 1)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: func(c *server.Conn, p []byte) (int, error) {
		return len(p), c.Detach(func(nc net.Conn, _ []byte, err error) {
			for range 10 { // one of them gets the number
				if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
					defer ln.Close()
				}
			}
			addr <- c.LocalAddr()
			_ = nc.Close()
		})
	}}})
	nc := s.dial(t)
	send(t, nc, "x")
	if a := testkit.Await(t, addr, "Detach's function"); a != nil {
		t.Errorf("the local address is %v after Detach; the server's is %v", a, s.addr)
	}
}

// The function of Detach is called with ErrClosed, and gets no net.Conn whose input was discarded or whose peer was to be reset.
func TestCloseAndAbortPrevailOverADetachThatWaits(t *testing.T) {
	for name, end := range map[string]func(c *server.Conn){
		"Close": func(c *server.Conn) { _ = c.Close() },
		"Abort": func(c *server.Conn) { c.Abort() },
	} {
		for _, waits := range []bool{false, true} { // until the output is flushed
			t.Run(fmt.Sprintf("%s, output waits %v", name, waits), func(t *testing.T) {
				results, accepted := make(chan error, 1), make(chan *server.Conn, 1)
				reasons, closed := closings()
				s := start(t, rig{"tcp", false, 1}, &server.Server{Socket: tight(), MaxOutput: 16 << 20, Handler: calls{close: closed, data: func(c *server.Conn, _ []byte) (int, error) {
					if waits {
						_, err := c.Write(make([]byte, 8<<20))
						testkit.Must(t, err)
					}
					testkit.Must(t, c.Detach(func(nc net.Conn, _ []byte, err error) {
						if nc != nil {
							nc.Close()
						}
						results <- err
					}))
					if !waits {
						end(c)
					}
					accepted <- c
					return 0, nil
				}}})
				nc := s.dial(t)
				send(t, nc, "hello")
				c := testkit.Await(t, accepted, "Data")
				if waits {
					end(c)
				}
				_, _ = io.Copy(io.Discard, nc) // fails after Abort
				_ = nc.Close()
				testkit.CheckErr(t, "Detach", testkit.Await(t, results, "the function of Detach"), server.ErrClosed)
				want := map[string]server.CloseReason{"Close": server.EndedInOrder, "Abort": server.EndedByAbort}[name]
				if got := server.ReasonOf(testkit.Await(t, reasons, "Close")); got != want {
					t.Errorf("Close is called with a reason of %v, want %v", got, want)
				}
			})
		}
	}
}
