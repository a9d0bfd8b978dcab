package event_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// socketpair returns two connected non-blocking stream sockets, closed when the test ends unless it did so itself.
func socketpair(t testing.TB) (a, b *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		testkit.Must(t, unix.SetNonblock(fd, true))
	}
	a, b = rawFile(fds[0]), rawFile(fds[1])
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// rawFile wraps fd so that os never touches its modes; fdOf gives the number back.
func rawFile(fd int) *os.File { return os.NewFile(uintptr(fd), "test socket") }

// fdOf returns the descriptor without making it blocking, which File.Fd would.
func fdOf(t testing.TB, f *os.File) (fd int) {
	t.Helper()
	c, err := f.SyscallConn()
	if err == nil {
		err = c.Control(func(n uintptr) { fd = int(n) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
