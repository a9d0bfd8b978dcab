//go:build linux || darwin || freebsd

package sock_test

import (
	"context"
	"net"
	"os"
	"testing"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

func TestASocketsFileIsRemovedOnlyWhileItIsInPlace(t *testing.T) {
	path := socketPath(t)
	listenAt := func() sock.File {
		fd, addr, _, err := sock.Listen(context.Background(), nil, "unix", path, nil)
		testkit.Must(t, err)
		closeLater(t, fd)
		return sock.FileOf(addr)
	}
	old := listenAt()
	equal(t, "in place", old.InPlace(), true)
	testkit.Must(t, os.Remove(path))
	equal(t, "in place when it is removed", old.InPlace(), false)
	testkit.Must(t, old.Remove())
	fresh := listenAt() // a successor
	equal(t, "in place of the successor's", old.InPlace(), false)
	testkit.Must(t, old.Remove())
	equal(t, "the successor's is in place", fresh.InPlace(), true)
	testkit.Must(t, fresh.Remove())
	_, err := os.Lstat(path)
	equal(t, "it is removed", os.IsNotExist(err), true)
	testkit.Must(t, fresh.Remove()) // does nothing
}

func TestASocketsFileIsFoundFromAnotherDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	fd, addr, _, err := sock.Listen(context.Background(), nil, "unix", "relative", nil)
	testkit.Must(t, err)
	closeLater(t, fd)
	f := sock.FileOf(addr)
	t.Chdir(t.TempDir())
	equal(t, "in place", f.InPlace(), true)
	testkit.Must(t, f.Remove())
	equal(t, "it is removed", f.InPlace(), false)
}

func TestOnlyUnixSocketsHaveAFile(t *testing.T) {
	for _, addr := range []net.Addr{&net.TCPAddr{}, &net.UnixAddr{}, &net.UnixAddr{Name: "@abstract"}} {
		f := sock.FileOf(addr)
		equal(t, addr.String(), f.InPlace(), false)
		testkit.Must(t, f.Remove())
	}
}
