//go:build linux || darwin || freebsd

package sock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// DupConn duplicates the descriptor of a listener or connection of package net. c does not change, and both descriptors refer to the same
// socket. The duplicate is close-on-exec.
func DupConn(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("sock: duplicating a descriptor: %w", err)
	}
	fd = -1
	var failed error
	// File().Fd() would make the socket blocking, also for c: the mode belongs to the socket and not to the descriptor.
	if err := raw.Control(func(of uintptr) { fd, failed = dup(of) }); err != nil {
		return -1, fmt.Errorf("sock: duplicating a descriptor: %w", err)
	}
	return fd, failed
}

// Dup duplicates the descriptor of a socket. The duplicate is close-on-exec and non-blocking.
func Dup(fd int) (int, error) { return dup(uintptr(fd)) }

// dup makes a duplicate with a number above 2, even if the process has closed lower ones. It makes the socket non-blocking.
func dup(of uintptr) (int, error) {
	fd, err := unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	flags, err := unix.FcntlInt(of, unix.F_GETFL, 0)
	if err == nil && flags&unix.O_NONBLOCK == 0 {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd) // the first error is returned
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// FileConn makes a connection of package net from fd. It closes fd, whether it succeeds or not. As on
// every TCP connection of that package, no-delay and its keep-alive are enabled.
func FileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "")
	if f == nil {
		return nil, os.NewSyscallError("dup", unix.EBADF)
	}
	c, err := net.FileConn(f) // duplicates, and leaves the socket non-blocking
	if e := f.Close(); e != nil && err == nil {
		return nil, errors.Join(e, c.Close())
	}
	return c, err
}

// socketFile returns the file of a unix socket's address, "" for an abstract address and one without name.
func socketFile(addr net.Addr) string {
	u, ok := addr.(*net.UnixAddr)
	if !ok || u.Name == "" || u.Name[0] == '@' {
		return ""
	}
	return u.Name
}

// remove removes the file of a socket that could not be opened. Its own error is ignored, since the caller returns the first one.
func remove(file string) {
	if file != "" {
		_ = os.Remove(file)
	}
}
