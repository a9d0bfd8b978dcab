package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/sock/socktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// errnoIs, isLookUp and isNetOp check an error of the system or of package net in the way that a program does.
func errnoIs(want syscall.Errno) func(error) bool {
	return func(err error) bool {
		var errno syscall.Errno
		return errors.As(err, &errno) && errno == want
	}
}

func isLookUp(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns)
}

func isNetOp(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// systemRig is what the calls of TestErrorsOfTheSystemNameTheirOperation use.
type systemRig struct {
	s      *running
	p      *probe
	pc     *server.PacketConn
	closed net.Conn // that was closed
	free   string   // an address on which no socket listens
}

// dial returns the reason with which a dialled connection is closed.
func (r *systemRig) dial(t *testing.T, network, address string) error {
	t.Helper()
	_, err := r.s.Dial(context.Background(), network, address, nil)
	testkit.Must(t, err)
	return testkit.Await(t, r.p.closed, "Close")
}

func (r *systemRig) listen(network, address string) error {
	_, err := r.s.Listen(context.Background(), network, address, nil)
	return err
}

func (r *systemRig) listenPacket(address string) error {
	_, err := r.s.ListenPacket(context.Background(), "udp", address, nil)
	return err
}

func newSystemRig(t *testing.T) *systemRig {
	t.Helper()
	p := newProbe(calls{})
	r := &systemRig{p: p}
	r.s = start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, PacketHandler: func(*server.PacketConn, []byte, netip.AddrPort) {}})
	var err error
	r.pc, err = r.s.ListenPacket(context.Background(), "udp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	r.free = l.Addr().String()
	r.closed, err = net.Dial("tcp", r.free)
	testkit.Must(t, err)
	testkit.Must(t, r.closed.Close())
	testkit.Must(t, l.Close())
	return r
}

// The errors of the system and of package net have no sentinel of this package. Their texts name the operation and its value, and errors.As
// finds the system's number, or the type of package net.
func TestErrorsOfTheSystemNameTheirOperation(t *testing.T) {
	const unknown = "name.invalid:80"
	r := newSystemRig(t)
	used, udp := r.s.addr.String(), r.pc.LocalAddr().String()
	for name, row := range map[string]struct {
		err  func(t *testing.T) error
		is   func(error) bool
		text string
	}{
		"Listen, in use":         {func(*testing.T) error { return r.listen("tcp", used) }, errnoIs(syscall.EADDRINUSE), "listen on tcp " + used},
		"Listen, net's":          {func(*testing.T) error { return r.listen("tcp", used) }, isNetOp, "bind: "},
		"Listen, name":           {func(*testing.T) error { return r.listen("tcp", unknown) }, isLookUp, "listen on tcp " + unknown},
		"Listen, no directory":   {func(*testing.T) error { return r.listen("unix", "/no/directory") }, errnoIs(syscall.ENOENT), "listen on unix /no/directory"},
		"ListenPacket, in use":   {func(*testing.T) error { return r.listenPacket(udp) }, errnoIs(syscall.EADDRINUSE), "listen on udp " + udp},
		"ListenPacket, name":     {func(*testing.T) error { return r.listenPacket(unknown) }, isLookUp, "listen on udp " + unknown},
		"Dial, refused":          {func(t *testing.T) error { return r.dial(t, "tcp", r.free) }, errnoIs(syscall.ECONNREFUSED), "dial: connect to " + r.free},
		"Dial, name":             {func(t *testing.T) error { return r.dial(t, "tcp", unknown) }, isLookUp, "dial: lookup name.invalid"},
		"Dial, no socket":        {func(t *testing.T) error { return r.dial(t, "unix", "/no/socket") }, errnoIs(syscall.ENOENT), "dial: connect to /no/socket"},
		"AddConn, closed":        {func(*testing.T) error { _, err := r.s.AddConn(r.closed, nil); return err }, isNetOp, "add connection from " + r.free},
		"PacketConn, too long":   {func(*testing.T) error { return r.sendLong() }, errnoIs(syscall.EMSGSIZE), "write 70000 bytes to 127.0.0.1:9"},
		"a reset":                {r.resetByPeer, errnoIs(syscall.ECONNRESET), "read: "},
		"a file that is shorter": {r.shortFile, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }, "write: send "},
		"a file that is closed":  {r.closedFile, func(err error) bool { return errors.Is(err, os.ErrClosed) }, "write: send "},
	} {
		t.Run(name, func(t *testing.T) {
			err := row.err(t)
			if err == nil || !row.is(err) || !strings.Contains(err.Error(), row.text) {
				t.Errorf("got %v (%T), want %q in it", err, err, row.text)
			}
		})
	}
}

func (r *systemRig) sendLong() error {
	_, err := r.pc.WriteTo(make([]byte, 70_000), netip.MustParseAddrPort("127.0.0.1:9"))
	return err
}

func (r *systemRig) resetByPeer(t *testing.T) error {
	_, nc := r.p.connect(t, r.s)
	send(t, nc, "x")
	reset(t, nc)
	return testkit.Await(t, r.p.closed, "Close")
}

func (r *systemRig) shortFile(t *testing.T) error {
	c, _ := r.p.connect(t, r.s)
	testkit.Must(t, c.SendFile(writeFile(t, make([]byte, 10)), 0, 20, nil))
	return testkit.Await(t, r.p.closed, "Close")
}

func (r *systemRig) closedFile(t *testing.T) error {
	c, _ := r.p.connect(t, r.s)
	f, err := os.Open(writeFile(t, make([]byte, 10)).Name())
	testkit.Must(t, err)
	testkit.Must(t, f.Close())
	testkit.Must(t, c.SendFile(f, 0, 10, nil))
	return testkit.Await(t, r.p.closed, "Close")
}

// A system call of a connection that fails is the reason of its end. The text of the reason names the operation.
func TestFailedCallsAreNamed(t *testing.T) {
	for call, row := range map[socktest.Name]struct {
		use  func(c *server.Conn, nc net.Conn)
		text string
	}{
		socktest.Read:     {func(_ *server.Conn, nc net.Conn) { _, _ = nc.Write([]byte("x")) }, "read: "},
		socktest.Write:    {func(c *server.Conn, _ net.Conn) { _, _ = c.WriteString("x") }, "write: "},
		socktest.SendFile: {func(c *server.Conn, _ net.Conn) { _ = c.SendFile(writeFile(t, make([]byte, 9)), 0, 9, nil) }, "write: send "},
		socktest.Shutdown: {func(c *server.Conn, _ net.Conn) { _ = c.Close() }, "close write: "},
	} {
		t.Run(string(call), func(t *testing.T) {
			p := newProbe(calls{})
			srv := &server.Server{Handler: p}
			srv.SetCalls(socktest.New(&sock.Kernel{}, func(c socktest.Call) (f socktest.Fault) {
				if c.Name == call {
					f.Err = syscall.ENOBUFS
				}
				return f
			}))
			s := start(t, rig{"tcp", false, 1}, srv)
			row.use(p.connect(t, s))
			err := testkit.Await(t, p.closed, "Close")
			if !errnoIs(syscall.ENOBUFS)(err) || !strings.HasPrefix(err.Error(), row.text) {
				t.Errorf("the reason is %v, want ENOBUFS after %q", err, row.text)
			}
		})
	}
}
