package event_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
)

// BenchmarkBareHop is the least that BenchmarkHop costs with the park driver: a goroutine parks in the poller of the Go runtime, another one
// wakes it by a read deadline, and after each wake it looks for ready descriptors with one call of epoll_wait that does not wait.
func BenchmarkBareHop(b *testing.B) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	testkit.Must(b, err)
	testkit.Must(b, unix.SetNonblock(fd, true))
	f := os.NewFile(uintptr(fd), "epoll")
	defer f.Close()
	raw, err := f.SyscallConn()
	testkit.Must(b, err)
	past := time.Unix(1, 0)
	work, ended := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for range work {
			if err := f.SetReadDeadline(past); err != nil {
				b.Error(err)
			}
		}
	}()
	var ready [64]unix.EpollEvent
	b.ResetTimer()
	for range b.N {
		testkit.Must(b, f.SetReadDeadline(time.Time{}))
		work <- struct{}{}
		if err := raw.Read(func(uintptr) bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
			b.Fatal(err)
		}
		if _, err := unix.EpollWait(fd, ready[:], 0); err != nil && !errors.Is(err, unix.EINTR) {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	close(work)
	<-ended
}
