package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

func discard(*server.PacketConn, []byte, netip.AddrPort) {}

// Each call that takes a context returns ErrInvalid, and the server can still be used and closed.
func TestANilContextIsInvalid(t *testing.T) {
	var none context.Context
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}, PacketHandler: discard})
	for name, call := range map[string]func() error{
		"Listen":       func() error { _, err := s.Listen(none, "tcp", "127.0.0.1:0", nil); return err },
		"Dial":         func() error { _, err := s.Dial(none, "tcp", "127.0.0.1:1", nil); return err },
		"ListenPacket": func() error { _, err := s.ListenPacket(none, "udp", "127.0.0.1:0", nil); return err },
		"Shutdown":     func() error { return s.Shutdown(none) },
	} {
		testkit.CheckErr(t, name, call(), server.ErrInvalid)
	}
	testkit.WantEqual(t, "sockets for datagrams", len(s.PacketConns()), 0)
	hangUp(s.dial(t))
	testkit.Must(t, s.Close())
}

// An interface that holds a nil pointer is not nil, and is refused.
func TestANilPointerIsNoConnectionAndNoListener(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}, PacketHandler: discard})
	for name, call := range map[string]func() error{
		"AddConn":            func() error { _, err := s.AddConn((*net.TCPConn)(nil), nil); return err },
		"AddConn of TLS":     func() error { _, err := s.AddConn((*tls.Conn)(nil), nil); return err },
		"AddListener":        func() error { _, err := s.AddListener((*net.TCPListener)(nil), nil); return err },
		"Serve":              func() error { return s.Serve((*net.UnixListener)(nil)) },
		"AddPacketConn":      func() error { _, err := s.AddPacketConn((*net.UDPConn)(nil), nil); return err },
		"AddConn of nil":     func() error { _, err := s.AddConn(nil, nil); return err },
		"AddListener of nil": func() error { _, err := s.AddListener(nil, nil); return err },
	} {
		testkit.CheckErr(t, name, call(), server.ErrInvalid)
	}
}

// The call fails on the loop, instead of blocking it forever, and leaves no listener behind.
func TestACallThatWouldWaitForItsOwnLoopFails(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		c, _ := p.connect(t, s)
		other, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		defer other.Close()
		before := len(s.Listeners())
		ended, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
		testkit.Must(t, err)
		testkit.Must(t, ended.Close())
		testkit.Must(t, ended.Wait())
		onLoop(t, c, func() {
			for name, call := range map[string]func() error{
				"Listener.Wait":  func() error { return s.Listeners()[0].Wait() },
				"ListenAndServe": func() error { return s.ListenAndServe("tcp", "127.0.0.1:0") },
				"Serve":          func() error { return s.Serve(other) },
				"Shutdown":       func() error { return s.Shutdown(context.Background()) },
				"Close":          s.Close,
			} {
				testkit.CheckErr(t, name, call(), event.ErrOnLoop)
			}
			testkit.Must(t, ended.Wait()) // there is nothing to wait for
		})
		testkit.WantEqual(t, "listeners", len(s.Listeners()), before)
	})
}

// On the loop, a write that would wait for room or for a Write on another goroutine fails, and the reply stays open.
func TestAReplyDoesNotWaitOnItsLoop(t *testing.T) {
	const first, long = 8 << 10, 256 << 10
	errs := make(chan error, 3)
	d := &server.Dispatcher{Framing: framing.Lines{}, Serve: func(w server.Reply, _ []byte) {
		loop := func(call func() error) {
			errs <- func() error {
				var err error
				done := make(chan struct{})
				if e := w.Conn().Loop().Post(func() { err = call(); close(done) }); e != nil {
					return e
				}
				<-done
				return err
			}()
		}
		_, _ = w.Write(make([]byte, first))
		loop(func() error { _, err := w.Write(make([]byte, 64<<20)); return err })
		var waits sync.WaitGroup
		waits.Go(func() { _, _ = w.Write(make([]byte, long)) }) // more than MaxOutput: it waits for the client
		loop(func() error {
			for { // until the goroutine has begun
				if err := w.Flush(); err != nil {
					return err
				}
			}
		})
		loop(func() error { return w.Notify(func(error) {}) })
		waits.Wait()
	}}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d, MaxOutput: 16 << 10, Socket: tight()})
	nc := s.dial(t)
	send(t, nc, "x\n")
	for range 3 {
		testkit.CheckErr(t, "a call on the loop", testkit.Await(t, errs, "a call on the loop"), event.ErrOnLoop)
	}
	closeWrite(t, nc)
	got, err := io.ReadAll(nc)
	testkit.Must(t, err)
	if len(got) < first+long {
		t.Errorf("%d bytes arrived, want at least %d", len(got), first+long)
	}
}

// Each call that takes an address returns ErrInvalid; Dial returns it at once.
func TestAnInvalidAddressIsErrInvalid(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}, PacketHandler: discard})
	ctx := context.Background()
	for _, address := range []string{"127.0.0.1", "[::1", "127.0.0.1:99999", "127.0.0.1:-1", "localhost:70000"} {
		_, err := s.Listen(ctx, "tcp", address, nil)
		testkit.CheckErr(t, "Listen on "+address, err, server.ErrInvalid)
		_, err = s.ListenPacket(ctx, "udp", address, nil)
		testkit.CheckErr(t, "ListenPacket on "+address, err, server.ErrInvalid)
		_, err = s.Dial(ctx, "tcp", address, nil)
		testkit.CheckErr(t, "Dial of "+address, err, server.ErrInvalid)
		if err != nil && !strings.Contains(err.Error(), address) {
			t.Errorf("%v does not name %s", err, address)
		}
	}
}

// The error matches ErrInvalid and the system's error.
func TestAnOptionThatTheSystemRefusesIsNamed(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}, PacketHandler: discard})
	testkit.Must(t, s.Close())
	for name, o := range map[string]server.SocketOptions{"IPv6Only": {IPv6Only: true}, "Device": {Device: "no-such-device"}} {
		srv := &server.Server{Handler: calls{}, PacketHandler: discard, Socket: o}
		for call, open := range map[string]func() error{
			"Listen":       func() error { _, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil); return err },
			"ListenPacket": func() error { _, err := srv.ListenPacket(context.Background(), "udp", "127.0.0.1:0", nil); return err },
		} {
			err := open()
			testkit.CheckErr(t, call+" with "+name, err, server.ErrInvalid)
			var errno syscall.Errno
			if name == "IPv6Only" && !errors.As(err, &errno) {
				t.Errorf("%v has no error of the system", err)
			}
			if err != nil && !strings.Contains(err.Error(), "Socket") || err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%v does not name Socket and %s", err, name)
			}
		}
		testkit.Must(t, srv.Close())
	}
}

// No descriptor is opened for the loops.
func TestMoreLoopsThanDescriptorsAreInvalid(t *testing.T) {
	for _, n := range []int{math.MaxInt32, math.MaxInt} {
		s := &server.Server{Handler: calls{}, NumLoops: n}
		err := s.Start()
		testkit.CheckErr(t, "Start", err, server.ErrInvalid)
		if err != nil && !strings.Contains(err.Error(), fmt.Sprint("NumLoops is ", n)) {
			t.Errorf("%v does not name NumLoops and %d", err, n)
		}
		testkit.Must(t, s.Close())
	}
}

// The error of SendFile names it, and nothing is accepted.
func TestAnInvalidPartOfAFileIsNamed(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	c, nc := p.connect(t, s)
	f, err := os.Open(os.DevNull)
	testkit.Must(t, err)
	defer f.Close()
	for _, row := range []struct {
		f         *os.File
		offset, n int64
		names     string
	}{
		{nil, 0, 1, "file is nil"}, {f, -1, 1, "offset -1"}, {f, 0, -1, "length -1"}, {f, math.MaxInt64, 1, "offset 9223372036854775807, length 1"},
	} {
		err := c.SendFile(row.f, row.offset, row.n, func(error) { t.Error("done was called for a file that was not accepted") })
		testkit.CheckErr(t, "SendFile", err, server.ErrInvalid)
		if err != nil && !strings.Contains(err.Error(), row.names) {
			t.Errorf("%v does not say %q", err, row.names)
		}
	}
	testkit.Must(t, c.Close())
	expectEOF(t, nc)
}
