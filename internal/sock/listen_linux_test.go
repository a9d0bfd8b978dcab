package sock_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

// An epoll set names the files that it watches by their inodes.
func watchedByAnyEpoll(t *testing.T, fd int) bool {
	t.Helper()
	var st unix.Stat_t
	testkit.Must(t, unix.Fstat(fd, &st))
	files, err := filepath.Glob("/proc/self/fdinfo/*")
	testkit.Must(t, err)
	for _, f := range files {
		info, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(info), fmt.Sprintf("ino:%x ", st.Ino)) {
			return true
		}
	}
	return false
}

func TestTheRuntimeDoesNotWatchAListenerThatWasTakenOut(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		l, _ := listen(t, p, nil)
		equal(t, "watched", watchedByAnyEpoll(t, l), false)
		set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		testkit.Must(t, err)
		closeLater(t, set)
		testkit.Must(t, unix.EpollCtl(set, unix.EPOLL_CTL_ADD, l, &unix.EpollEvent{Events: unix.EPOLLIN}))
		equal(t, "a watch that is there is found", watchedByAnyEpoll(t, l), true)
	})
}

func TestAnAbstractSocketHasNoFile(t *testing.T) {
	for _, network := range []string{"unix", "unixgram"} {
		name := fmt.Sprintf("@evmq-%d-%s", os.Getpid(), network)
		open := sock.Listen
		if network == "unixgram" {
			open = sock.ListenPacket
		}
		fd, addr, unlink, err := open(context.Background(), nil, network, name, nil)
		testkit.Must(t, err)
		closeLater(t, fd)
		equal(t, "addr", addr.String(), name)
		equal(t, "unlink", unlink, "")
	}
}

// Package net listens by Multipath TCP where it can, and the kernel refuses some options on such sockets.
func TestListenersAreOfPlainTCP(t *testing.T) {
	onTCP(t, func(t *testing.T, p place) {
		l, _ := listen(t, p, nil)
		equal(t, "SO_PROTOCOL", option(t, l, unix.SOL_SOCKET, unix.SO_PROTOCOL), unix.IPPROTO_TCP)
	})
}
