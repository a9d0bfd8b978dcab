package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// pair returns a connection of package net, and its other end.
func pair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	theirs, err = net.Dial("tcp", ln.Addr().String())
	testkit.Must(t, err)
	t.Cleanup(func() { theirs.Close() })
	ours, err = ln.Accept()
	testkit.Must(t, err)
	return ours, theirs
}

// detached has the arguments of Detach's function.
type detached struct {
	nc   net.Conn
	rest string
	err  error
}

func detach(t *testing.T, c *server.Conn) detached {
	t.Helper()
	ch := make(chan detached, 1)
	testkit.Must(t, c.Detach(func(nc net.Conn, rest []byte, err error) { ch <- detached{nc, string(rest), err} }))
	return testkit.Await(t, ch, "the detached connection")
}

// A connection of package net is added to the server, detached, and added again.
func TestAddConnAndDetachAreInverse(t *testing.T) {
	for _, loops := range []int{1, 3} {
		t.Run(fmt.Sprint(loops), func(t *testing.T) {
			reasons, closed := closings()
			d := echoLines()
			d.Closed = closed
			s := start(t, rig{"tcp", false, loops}, &server.Server{Handler: d})
			ours, theirs := pair(t)
			send(t, theirs, "before\n")
			for range 5 {
				c, err := s.AddConn(ours, nil)
				testkit.Must(t, err)
				if _, err := ours.Write([]byte("x")); err == nil {
					t.Error("an added connection can still be written to")
				}
				expect(t, theirs, "before\n")
				send(t, theirs, "line\nrest")
				expect(t, theirs, "line\n")
				testkit.Until(t, "the rest", func() bool { return c.Stats().BytesRead == 16 })
				nonBlocking(t, c)
				_, err = c.WriteString("last\n")
				testkit.Must(t, err)
				got := detach(t, c)
				if got.err != nil || got.rest != "rest" {
					t.Fatalf("Detach hands out %q, %v", got.rest, got.err)
				}
				testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrDetached)
				_, err = c.WriteString("late")
				testkit.CheckErr(t, "Write", err, server.ErrClosed, server.ErrDetached)
				ours = got.nc
				expect(t, theirs, "last\n")
				send(t, ours, "from net\n")
				expect(t, theirs, "from net\n")
				send(t, theirs, "to net\nbefore\n")
				expect(t, ours, "to net\n")
			}
			testkit.Must(t, ours.Close())
			expectEnd(theirs)
			s.shutdown(t)
			if st := s.Stats(); st.Opened != 5 || st.Closed != 5 || st.BufferedBytes != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// expectEnd reads to the end or to a reset, which follows if bytes are unread.
func expectEnd(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }

// nonBlocking checks that the descriptor of a connection is non-blocking and closed on exec.
func nonBlocking(t *testing.T, c *server.Conn) {
	t.Helper()
	var fd int
	if _, err := fmt.Sscanf(c.ID().String(), "%d.%d", new(uint64), &fd); err != nil {
		t.Fatal(err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	testkit.Must(t, err)
	cloexec, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	testkit.Must(t, err)
	if flags&unix.O_NONBLOCK == 0 || cloexec&unix.FD_CLOEXEC == 0 {
		t.Errorf("the descriptor has the flags %#x and %#x", flags, cloexec)
	}
}

// The descriptor that was added may block; the loop still serves other connections.
func TestAddedDescriptorsDoNotBlock(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: echoLines()})
	ours, theirs := pair(t)
	f, err := ours.(*net.TCPConn).File()
	testkit.Must(t, err)
	f.Fd() // makes the description blocking, for ours as well
	testkit.Must(t, f.Close())
	c, err := s.AddConn(ours, nil)
	testkit.Must(t, err)
	testkit.Must(t, pipelined(theirs, "added", 10))
	nonBlocking(t, c)
	testkit.Must(t, pipelined(s.dial(t), "another", 10))
}

// The connection still belongs to the caller.
func TestAConnectionWithoutADescriptorIsNotAdded(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines(), MaxConns: 1})
		one, two := net.Pipe()
		defer one.Close()
		defer two.Close()
		_, err := s.AddConn(one, nil)
		testkit.CheckErr(t, "AddConn of a pipe", err, server.ErrUnsupported)
		udp, err := net.Dial("udp", "127.0.0.1:9")
		testkit.Must(t, err)
		defer udp.Close()
		_, err = s.AddConn(udp, nil)
		testkit.CheckErr(t, "AddConn of a UDP socket", err, server.ErrUnsupported)

		testkit.Must(t, pipelined(s.dial(t), "the only one", 1))
		ours, theirs := pair(t)
		_, err = s.AddConn(ours, nil)
		testkit.CheckErr(t, "AddConn above MaxConns", err, server.ErrOverload)
		send(t, ours, "still mine")
		expect(t, theirs, "still mine")
		testkit.Must(t, ours.Close())
	})
}

// Detach also waits until the output is flushed.
func TestDetachWaitsForTheRequestInProgress(t *testing.T) {
	for _, concurrent := range []int{1, 2} {
		begun, release := make(chan struct{}), make(chan struct{})
		d := several(concurrent, func(w server.Reply, line []byte) {
			begun <- struct{}{}
			<-release
			_, _ = w.WriteString("answer\n")
		})
		s := start(t, rigs()[0], &server.Server{Handler: d})
		ours, theirs := pair(t)
		c, err := s.AddConn(ours, nil)
		testkit.Must(t, err)
		send(t, theirs, "request\n")
		testkit.Await(t, begun, "the request")
		got := make(chan detached, 1)
		testkit.Must(t, c.Detach(func(nc net.Conn, rest []byte, err error) { got <- detached{nc, string(rest), err} }))
		testkit.CheckErr(t, "a second Detach", c.Detach(func(net.Conn, []byte, error) { t.Error("called") }), server.ErrClosed)
		other := s.dial(t)
		send(t, other, "request\n")
		testkit.Await(t, begun, "another request")
		if len(got) != 0 {
			t.Error("the connection is handed out while a request is in progress")
		}
		close(release)
		h := testkit.Await(t, got, "the detached connection")
		testkit.Must(t, h.err)
		expect(t, theirs, "answer\n")
		testkit.Must(t, h.nc.Close())
		expect(t, other, "answer\n")
		hangUp(other)
		s.shutdown(t)
	}
}

// If the connection ends first, the function of Detach is called with the reason.
func TestADetachThatFailsIsReported(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		reasons, closed := closings()
		s := start(t, r, &server.Server{Handler: calls{data: echo, close: closed}})
		nc := s.dial(t)
		testkit.Must(t, pipelined(nc, "hello", 1))
		for c := range s.Conns() {
			_, err := c.Write(make([]byte, 20<<20)) // more than the client's kernel buffers
			testkit.Must(t, err)
			got := make(chan detached, 1)
			testkit.Must(t, c.Detach(func(nc net.Conn, rest []byte, err error) { got <- detached{nc, "", err} }))
			c.Abort()
			h := testkit.Await(t, got, "Detach's end")
			if h.nc != nil {
				t.Error("a connection that was aborted is handed out")
			}
			testkit.CheckErr(t, "Detach", h.err, server.ErrClosed, server.ErrAborted)
			testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrAborted)
		}
		hangUp(nc)
		s.shutdown(t)
	})
}

// A net.Conn whose descriptor is a file is refused, and still belongs to the caller.
func TestAFileIsNotAddedAsAConnection(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: echoLines()})
	f, err := os.CreateTemp(t.TempDir(), "f")
	testkit.Must(t, err)
	defer f.Close()
	one, two := net.Pipe()
	defer one.Close()
	defer two.Close()
	if _, err := s.AddConn(disguised{one, f}, nil); err == nil {
		t.Error("a file was added as a connection")
	}
	if st := s.Stats(); st.OpenConns != 0 {
		t.Errorf("%d connections are counted", st.OpenConns)
	}
}

type disguised struct {
	net.Conn
	f *os.File
}

func (d disguised) SyscallConn() (syscall.RawConn, error) { return d.f.SyscallConn() }

// Its peer is gone when the server reads the peer's address.
func TestAnAddedConnectionThatWasResetOpensAndEnds(t *testing.T) {
	h := newCaller()
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h})
	ours, theirs := pair(t)
	addr := ours.RemoteAddr().String()
	testkit.Must(t, theirs.(*net.TCPConn).SetLinger(0))
	testkit.Must(t, theirs.Close())
	rc, err := ours.(*net.TCPConn).SyscallConn()
	testkit.Must(t, err)
	testkit.Must(t, rc.Control(func(fd uintptr) { err = awaitReset(int(fd)) }))
	testkit.Must(t, err)
	_, err = s.AddConn(ours, nil)
	testkit.Must(t, err)
	if got := testkit.Await(t, h.opened, "Open").RemoteAddr().String(); got != addr {
		t.Errorf("the peer is %s, want %s", got, addr)
	}
	if reason := testkit.Await(t, h.closed, "Close"); !errors.Is(reason, syscall.ECONNRESET) {
		t.Errorf("Close was called with %v", reason)
	}
}
