package server_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// It may have any size. From then on writes are refused as a whole.
func TestWriteIsAcceptedWholeWhileLessThanMaxOutputWaits(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const limit = 100_000
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, MaxOutput: limit, Socket: tight()})
		c, nc := p.connect(t, s)
		accepted := 0
		onLoop(t, c, func() { // the loop cannot flush meanwhile
			for _, step := range []struct {
				size int
				want error
			}{{limit - 1, nil}, {0, nil}, {3 * limit, nil}, {1, server.ErrFull}, {0, server.ErrFull}} {
				n, err := c.Write(make([]byte, step.size))
				if !errors.Is(err, step.want) || err == nil && n != step.size || err != nil && n != 0 {
					t.Errorf("Write of %d bytes with %d waiting: %d, %v; want %v", step.size, accepted, n, err, step.want)
				}
				accepted += n
			}
			refused := func(error) { t.Error("what was refused had an outcome") }
			for what, err := range map[string]error{
				"WriteNotify": c.WriteNotify([]byte("x"), refused),
				"WriteOwned":  c.WriteOwned([]byte("x"), refused),
				"WriteString": second(c.WriteString("x")),
				"Writev":      second(c.Writev([][]byte{{1}})),
				"SendFile":    c.SendFile(os.Stdin, 0, 0, refused),
			} {
				if !errors.Is(err, server.ErrFull) {
					t.Errorf("%s: %v, want ErrFull", what, err)
				}
			}
			if st := c.Stats(); st.BufferedBytes != accepted {
				t.Errorf("%d bytes of output wait, %d were accepted", st.BufferedBytes, accepted)
			}
		})
		if n, err := io.CopyN(io.Discard, nc, int64(accepted)); err != nil {
			t.Fatalf("%d of %d bytes came: %v", n, accepted, err)
		}
		testkit.Until(t, "room", func() bool { _, err := c.Write([]byte("!")); return err == nil })
		expect(t, nc, "!")
		testkit.Must(t, nc.Close())
		s.shutdown(t)
		s.drained(t)
	})
}

func second[T any](_ T, err error) error { return err }

// The connections are not at their own limits.
func TestMaxBufferedBoundsTheWholeServer(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const limit, piece = 1 << 20, 10_000
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, MaxBuffered: limit, Socket: tight()})
		var conns []*server.Conn
		for range 8 {
			c, _ := p.connect(t, s)
			conns = append(conns, c)
		}
		full := 0
		for i := 0; full < len(conns); i++ {
			full++
			for _, c := range conns {
				if _, err := c.Write(make([]byte, piece)); err == nil {
					full = 0
				} else if !errors.Is(err, server.ErrFull) {
					t.Fatal(err)
				}
			}
		}
		for _, c := range conns {
			if n := c.Stats().BufferedBytes; n >= server.DefaultMaxOutput {
				t.Errorf("a connection holds %d bytes, which is its own limit", n)
			}
		}
		if n := s.Stats().BufferedBytes; n > limit+2*(piece+20<<10) { // the memory of the last write, with TLS
			t.Errorf("the server holds %d bytes, the limit is %d", n, limit)
		}
		for _, c := range conns[:4] {
			c.Abort()
		}
		testkit.Until(t, "room", func() bool { _, err := conns[7].Write([]byte("x")); return err == nil })
		testkit.Must(t, s.Close())
		s.drained(t)
	})
}

// Each way to write returns it, with the reason, and no completion is called.
func TestWritesAfterTheEndReturnErrClosed(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		c.Abort()
		check := func() {
			t.Helper()
			never := func(error) { t.Error("what was refused had an outcome") }
			refused := server.Broadcast([]*server.Conn{c}, []byte("x"), func(*server.Conn, error) { never(nil) })
			if len(refused) != 1 {
				t.Fatal("Broadcast was not refused")
			}
			for what, err := range map[string]error{
				"Write": second(c.Write(nil)), "WriteString": second(c.WriteString("x")), "Writev": second(c.Writev(nil)),
				"WriteNotify": c.WriteNotify(nil, never), "WriteOwned": c.WriteOwned(nil, never),
				"SendFile": c.SendFile(os.Stdin, 0, 1, never), "CloseWrite": c.CloseWrite(), "CloseRead": c.CloseRead(),
				"Broadcast": refused[0].Err, "Detach": c.Detach(func(net.Conn, []byte, error) { never(nil) }),
			} {
				if !errors.Is(err, server.ErrClosed) || !errors.Is(err, server.ErrAborted) {
					t.Errorf("%s: %v, want ErrClosed because of ErrAborted", what, err)
				}
			}
		}
		check() // whether its loop has handled it or not
		if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, server.ErrAborted) {
			t.Errorf("the reason is %v", reason)
		}
		check()
		c.Abort()
		c.Close()
		c.PauseRead(nil)
		c.ResumeRead(nil)
		c.SetTimeouts(server.Timeouts{Idle: 1})
		testkit.Must(t, c.SetHandler(p))
		if s.Conn(c.ID()) != nil {
			t.Error("a closed connection is found by its ID")
		}
		if c.LocalAddr() != nil || c.RemoteAddr() == nil || c.Context().Err() == nil || c.Stats().BufferedBytes != 0 {
			t.Errorf("a closed connection: local address %v, remote %v, context %v, %+v", c.LocalAddr(), c.RemoteAddr(), c.Context().Err(), c.Stats())
		}
		if _, err := nc.Read(make([]byte, 1)); err == nil {
			t.Error("the client read something")
		}
		s.shutdown(t)
		s.drained(t)
		check() // and after the end of the loop
	})
}

// The outcome is reported on the connection's loop: nil when the kernel has the bytes, otherwise the reason.
func TestEveryWriteHasOneOutcome(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, Socket: tight()})
		c, nc := p.connect(t, s)
		var o outcomes
		const small = 100
		for i := range small {
			testkit.Must(t, c.WriteNotify([]byte("n"), o.of(c, name(i, 0))))
			testkit.Must(t, c.WriteOwned([]byte("o"), o.of(c, name(i, 1))))
			testkit.Must(t, c.WriteNotify(nil, o.of(c, name(i, 2))))
		}
		expect(t, nc, string(bytes.Repeat([]byte("no"), small)))
		testkit.Until(t, "all outcomes", func() bool { return o.len() == 3*small })
		if good := o.check(t, 3*small); good != 3*small {
			t.Errorf("%d of %d writes succeeded", good, 3*small)
		}

		// From now on the client reads nothing: writes that the kernel does not accept fail, and no third outcome exists.
		var late outcomes
		n := 0
		for piece := make([]byte, 1000); ; n++ {
			err := c.WriteOwned(piece, late.of(c, name(n, 0)))
			if errors.Is(err, server.ErrFull) {
				break
			}
			testkit.Must(t, err)
		}
		c.Abort()
		testkit.Await(t, p.closed, "Close")
		good := late.check(t, n)
		if good == n {
			t.Error("all writes succeeded, although the client reads nothing")
		}
		for what, errs := range late.reported {
			if err := errs[0]; err != nil && (!errors.Is(err, server.ErrClosed) || !errors.Is(err, server.ErrAborted)) {
				t.Fatalf("write %s failed with %v, want ErrClosed because of ErrAborted", what, err)
			}
		}
		if wrote := c.Stats().BytesWritten; wrote < uint64(2*small+1000*good) || wrote >= uint64(2*small+1000*(good+1)) {
			t.Errorf("%d bytes were given to the kernel, and %d writes of 1000 succeeded", wrote, good)
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// The caller's memory is sent, until it is released.
func TestOwnedBytesAreNotCopied(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		owned, copied := []byte("before"), []byte("before")
		released := make(chan error, 1)
		onLoop(t, c, func() {
			testkit.Must(t, c.WriteOwned(owned, func(err error) { released <- err }))
			_, err := c.Write(copied)
			testkit.Must(t, err)
			// A change against the rule shows that the memory is not copied. This is the loop's goroutine, so no other reads it meanwhile.
			copy(owned, "later!")
			copy(copied, "later!")
		})
		expect(t, nc, "later!before")
		testkit.Must(t, testkit.Await(t, released, "the release"))
	})
}

// Its slices are sent together, beside other writers.
func TestWritevIsOneWrite(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		const each = 500
		for w := range 4 {
			go func() {
				one := []byte{byte('a' + w)}
				bufs := [][]byte{one, nil, bytes.Repeat(one, 98), one}
				for range each {
					if n, err := c.Writev(bufs); err != nil || n != 100 {
						t.Errorf("Writev: %d, %v", n, err)
					}
				}
			}()
		}
		block := make([]byte, 100)
		for i := range 4 * each {
			if _, err := io.ReadFull(nc, block); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(block, bytes.Repeat(block[:1], 100)) {
				t.Fatalf("block %d is torn: %q", i, block)
			}
		}
	})
}
