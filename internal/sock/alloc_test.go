//go:build linux

package sock_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

// noGarbage also fails where call does.
func noGarbage(t *testing.T, what string, call func() error) {
	t.Helper()
	var failed error
	if n := testing.AllocsPerRun(100, func() {
		if err := call(); err != nil {
			failed = err
		}
	}); n != 0 {
		t.Errorf("%s allocates %v times", what, n)
	}
	if failed != nil {
		t.Errorf("%s: %v", what, failed)
	}
}

// expect turns the error that a call shall return into success.
func expect(err error, want unix.Errno) error {
	if err == want {
		return nil
	}
	return err
}

func TestBytesMoveWithoutGarbage(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		client, server := pair(t, p)
		out, in := []byte("12345678"), make([]byte, 64)
		bufs := [][]byte{out, out[:3], out}
		echo := func(write func() (int, error)) func() error {
			return func() error {
				if _, err := write(); err != nil {
					return err
				}
				wait(t, server, unix.POLLIN)
				_, err := kernel.Read(server, in)
				return err
			}
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		testkit.Must(t, err)
		defer f.Close()
		_, err = f.Write(out)
		testkit.Must(t, err)
		file := int(f.Fd())
		var offset int64
		noGarbage(t, "Write and Read", echo(func() (int, error) { return kernel.Write(client, out) }))
		noGarbage(t, "Writev", echo(func() (int, error) { return kernel.Writev(client, bufs) }))
		noGarbage(t, "SendFile", echo(func() (int, error) { offset = 0; return kernel.SendFile(client, file, &offset, 8) }))
		noGarbage(t, "an EAGAIN", func() error { _, err := kernel.Read(client, in); return expect(err, unix.EAGAIN) })
		noGarbage(t, "SockError", func() error { return kernel.SockError(client) })
	})
}

func TestConnectionsAreAcceptedWithoutGarbage(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		l, _ := listen(t, p, nil)
		const many = 101 // AllocsPerRun calls once more than it is told
		for range many {
			closeLater(t, connect(t, p.network, l))
		}
		var peer sock.Peer
		noGarbage(t, "Accept and Close", func() error {
			fd, from, err := kernel.Accept(l)
			if err != nil {
				return err
			}
			peer = from
			return kernel.Close(fd)
		})
		noGarbage(t, "an EAGAIN", func() error { _, _, err := kernel.Accept(l); return expect(err, unix.EAGAIN) })
		noGarbage(t, "Hash and AddrPort", func() error { _, _ = peer.Hash(), peer.AddrPort(); return nil })
	})
}

func TestDatagramsAreAnsweredWithoutGarbage(t *testing.T) {
	a, _, _, err := sock.ListenPacket(context.Background(), nil, "udp4", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	closeLater(t, a)
	to, err := unix.Getsockname(a)
	testkit.Must(t, err)
	var place sock.Sockaddrs
	var from sock.Peer
	out, in := []byte("12345678"), make([]byte, 64)
	noGarbage(t, "SendTo and RecvFrom", func() (err error) {
		if err = kernel.SendTo(a, out, to); err != nil {
			return err
		}
		if _, from, err = kernel.RecvFrom(a, in); err != nil {
			return err
		}
		if err = kernel.SendTo(a, out, from.SockaddrIn(&place)); err != nil {
			return err
		}
		_, _, err = kernel.RecvFrom(a, in)
		return err
	})
	noGarbage(t, "an EAGAIN", func() error { _, _, err := kernel.RecvFrom(a, in); return expect(err, unix.EAGAIN) })
	equal(t, "from", from.AddrPort().Addr(), netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

func TestEveryErrnoThatSocketsReturnIsAnErrorWithoutGarbage(t *testing.T) {
	var sink error
	for e := unix.Errno(1); e < 134; e++ { // Linux's last is EHWPOISON, 133
		noGarbage(t, e.Error(), func() error { sink = e; return nil })
	}
	_ = sink
}
