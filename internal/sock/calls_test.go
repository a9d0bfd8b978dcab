//go:build linux || darwin || freebsd

package sock_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

func TestBytesArriveInOrderThenTheEnd(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, server := pair(t, p)
		n, err := kernel.Write(client, []byte("one "))
		testkit.Must(t, err)
		equal(t, "written", n, 4)
		n, err = kernel.Writev(client, [][]byte{[]byte("two "), nil, {}, []byte("three")})
		testkit.Must(t, err)
		equal(t, "written", n, 9)
		testkit.Must(t, kernel.Shutdown(client, unix.SHUT_WR))
		var got []byte
		for {
			wait(t, server, unix.POLLIN)
			var buf [5]byte
			n, err := kernel.Read(server, buf[:])
			testkit.Must(t, err)
			if n == 0 {
				break
			}
			got = append(got, buf[:n]...)
		}
		equal(t, "read", string(got), "one two three")
	})
}

func TestNothingToReadIsEAGAIN(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, _ := pair(t, p)
		n, err := kernel.Read(client, make([]byte, 1))
		equal(t, "count", n, 0)
		equal(t, "by ==", err, error(unix.EAGAIN))
		equal(t, "by errors.Is", errors.Is(err, unix.EAGAIN), true)
	})
}

func TestAcceptWithoutAClientIsEAGAIN(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		l, _ := listen(t, p, nil)
		fd, peer, err := kernel.Accept(l)
		equal(t, "descriptor", fd, -1)
		equal(t, "peer", peer, sock.Peer{})
		equal(t, "error", err, error(unix.EAGAIN))
	})
}

func TestEmptyBuffersMoveNothing(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, server := pair(t, p)
		for _, b := range [][]byte{nil, {}} {
			n, err := kernel.Write(client, b)
			testkit.Must(t, err)
			equal(t, "Write", n, 0)
			n, err = kernel.Read(server, b)
			equal(t, "Read", n, 0)
			if err != nil && err != unix.EAGAIN {
				t.Error(err)
			}
			n, err = kernel.Writev(client, [][]byte{b})
			testkit.Must(t, err)
			equal(t, "Writev", n, 0)
		}
		n, err := kernel.Writev(client, nil)
		testkit.Must(t, err)
		equal(t, "Writev of nothing", n, 0)
		equal(t, "arrived", len(drain(t, server)), 0)
	})
}

// With small buffers in the kernel a long write goes in part, and what went is what arrives.
func TestAFullSocketTakesAPartAndThenSaysEAGAIN(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, server := pair(t, p)
		testkit.Must(t, (&sock.Options{WriteBuffer: 4096}).ApplyConn(p.network, client))
		data := bytes.Repeat([]byte("0123456789abcdef#"), sock.MaxRaw) // longer than MaxRaw
		sent, short := 0, false
		for {
			n, err := kernel.Write(client, data[sent:])
			if err == unix.EAGAIN {
				equal(t, "count", n, 0)
				break
			}
			testkit.Must(t, err)
			short = short || n < sock.MaxRaw
			sent += n
		}
		equal(t, "a short write", short, true)
		var got []byte
		for len(got) < sent {
			wait(t, server, unix.POLLIN)
			got = append(got, drain(t, server)...)
		}
		equal(t, "what arrived is what went", bytes.Equal(got, data[:sent]), true)
		wait(t, client, unix.POLLOUT)
		n, err := kernel.Writev(client, [][]byte{data})
		testkit.Must(t, err)
		equal(t, "there is room again", n > 0, true)
	})
}

func TestOneCallMovesMaxRawAtMost(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, server := pair(t, p)
		large := &sock.Options{ReadBuffer: 4 * sock.MaxRaw, WriteBuffer: 4 * sock.MaxRaw}
		testkit.Must(t, large.ApplyConn(p.network, client))
		testkit.Must(t, large.ApplyConn(p.network, server))
		data := bytes.Repeat([]byte{7}, sock.MaxRaw+1)
		calls := map[string]func() (int, error){
			"Write":  func() (int, error) { return kernel.Write(client, data) },
			"Writev": func() (int, error) { return kernel.Writev(client, [][]byte{data[:9], data, data}) },
			"Read":   func() (int, error) { return kernel.Read(server, make([]byte, 2*sock.MaxRaw)) },
		}
		for _, name := range []string{"Write", "Writev", "Read"} {
			n, err := calls[name]()
			testkit.Must(t, err)
			if n == 0 || n > sock.MaxRaw {
				t.Errorf("%s moved %d bytes", name, n)
			}
		}
	})
}

func TestWritevTakesTheFirstBuffersOfMany(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, server := pair(t, p)
		var bufs [][]byte
		for i := range sock.MaxVec + 3 {
			bufs = append(bufs, []byte{byte('a' + i)})
		}
		n, err := kernel.Writev(client, bufs)
		testkit.Must(t, err)
		equal(t, "written", n, sock.MaxVec)
		wait(t, server, unix.POLLIN)
		equal(t, "arrived", string(drain(t, server)), "abcdefghijklmnop")
	})
}

func TestAWriteToAGonePeerIsEPIPE(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, server := openPair(t, p)
		closeLater(t, client)
		testkit.Must(t, (&sock.Options{LingerSeconds: -1}).ApplyConn(p.network, server))
		testkit.Must(t, kernel.Close(server))
		wait(t, client, unix.POLLIN)
		_, err := kernel.Read(client, make([]byte, 1))
		if p.network != "unix" {
			equal(t, "a reset on reading", err, error(unix.ECONNRESET))
		}
		_, err = kernel.Write(client, []byte("x"))
		equal(t, "Write", err, error(unix.EPIPE))
		_, err = kernel.Writev(client, [][]byte{[]byte("x"), []byte("y")})
		equal(t, "Writev", err, error(unix.EPIPE))
	})
}

func TestAClosedDescriptorIsEBADF(t *testing.T) {
	const closed = 1 << 20
	want := error(unix.EBADF)
	_, err := kernel.Read(closed, make([]byte, 1))
	equal(t, "Read", err, want)
	_, err = kernel.Write(closed, make([]byte, 1))
	equal(t, "Write", err, want)
	_, err = kernel.Writev(closed, [][]byte{{1}, {2}})
	equal(t, "Writev", err, want)
	_, _, err = kernel.Accept(closed)
	equal(t, "Accept", err, want)
	_, _, err = kernel.RecvFrom(closed, make([]byte, 1))
	equal(t, "RecvFrom", err, want)
	equal(t, "SendTo", kernel.SendTo(closed, []byte{1}, nil), want)
	equal(t, "Shutdown", kernel.Shutdown(closed, unix.SHUT_RD), want)
	equal(t, "SockError", kernel.SockError(closed), want)
	equal(t, "Close", kernel.Close(closed), want)
	equal(t, "Connect", kernel.Connect(closed, &unix.SockaddrInet4{}), want)
}

func TestARefusedConnectionIsReportedBySockErrorOnce(t *testing.T) {
	l, _, _, err := sock.Listen(context.Background(), nil, "tcp4", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	sa, err := unix.Getsockname(l)
	testkit.Must(t, err)
	testkit.Must(t, kernel.Close(l))
	fd, err := sock.Socket("tcp", sa)
	testkit.Must(t, err)
	closeLater(t, fd)
	isOurs(t, fd)
	err = kernel.Connect(fd, sa)
	if err == unix.EINPROGRESS {
		wait(t, fd, unix.POLLOUT)
		err = kernel.SockError(fd)
	}
	equal(t, "error", err, error(unix.ECONNREFUSED))
	testkit.Must(t, kernel.SockError(fd))
}

func TestSendFileMovesItsOffsetToTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	data := bytes.Repeat([]byte("line of a file\n"), 1000)
	testkit.Must(t, os.WriteFile(path, data, 0o600))
	onStreams(t, func(t *testing.T, p place) {
		client, server := pair(t, p)
		f, err := os.Open(path)
		testkit.Must(t, err)
		defer f.Close()
		in := int(f.Fd())
		offset := int64(5)
		var got []byte
		for {
			n, err := kernel.SendFile(client, in, &offset, 4000)
			if err == unix.EAGAIN {
				wait(t, client, unix.POLLOUT)
				continue
			}
			testkit.Must(t, err)
			if n == 0 {
				break
			}
			equal(t, "at most what was asked for", n <= 4000, true)
			wait(t, server, unix.POLLIN)
			got = append(got, drain(t, server)...)
			equal(t, "offset", offset <= int64(len(data)), true)
		}
		for len(got) < len(data)-5 {
			wait(t, server, unix.POLLIN)
			got = append(got, drain(t, server)...)
		}
		equal(t, "arrived", bytes.Equal(got, data[5:]), true)
		equal(t, "offset at the end", offset, int64(len(data)))
	})
}
