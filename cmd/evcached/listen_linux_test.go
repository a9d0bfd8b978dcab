package main

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
)

// TestTheBacklogIsPassedToTheKernel compares it with the one of a listening socket.
func TestTheBacklogIsPassedToTheKernel(t *testing.T) {
	l, err := listenStream("tcp", "127.0.0.1:0", 7)
	testkit.Must(t, err)
	defer l.Close()
	raw, err := l.(syscall.Conn).SyscallConn()
	testkit.Must(t, err)
	var info *unix.TCPInfo
	testkit.Must(t, raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }))
	testkit.Must(t, err)
	equal(t, "the backlog", info.Sacked, 7) // of a listening socket that field is it
}
