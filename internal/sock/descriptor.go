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

// DupConn duplicates the descriptor of a listener or connection of package net; c stays as it was, and both are of one
// socket. The duplicate is close-on-exec.
func DupConn(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("sock: duplicating a descriptor: %w", err)
	}
	fd = -1
	var failed error
	// File().Fd() would make the socket blocking, for c as well: the mode is the socket's, not the descriptor's.
	if err := raw.Control(func(of uintptr) { fd, failed = dup(of) }); err != nil {
		return -1, fmt.Errorf("sock: duplicating a descriptor: %w", err)
	}
	return fd, failed
}

// dup numbers above 2, whatever the process has closed. The mode is only ever set to non-blocking, never back.
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
		_ = unix.Close(fd) // the first error is the one to tell
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// FileConn makes a connection of package net of fd, and takes it over: fd is closed, whether it succeeds or not. As on
// every TCP connection of that package, no-delay and its keep-alive are on then.
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

// socketFile is the file of a unix socket's address; an abstract one and one without name have none.
func socketFile(addr net.Addr) string {
	u, ok := addr.(*net.UnixAddr)
	if !ok || u.Name == "" || u.Name[0] == '@' {
		return ""
	}
	return u.Name
}

// remove is for a socket whose opening failed, of which that error is the one to tell.
func remove(file string) {
	if file != "" {
		_ = os.Remove(file)
	}
}
