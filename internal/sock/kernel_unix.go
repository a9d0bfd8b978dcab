//go:build linux || darwin || freebsd

package sock

import "golang.org/x/sys/unix"

// A write to a socket whose peer is gone raises SIGPIPE as well, unless MSG_NOSIGNAL says not to. The runtime ignores it (only
// os.File raises it again, for descriptors 1 and 2), so that calls which have no place for it need none.

// Shutdown implements Calls.
func (*Kernel) Shutdown(fd, how int) error { return unix.Shutdown(fd, how) }

// Close does not try again: Linux has closed the descriptor when it says EINTR, and another thread may have its number.
func (*Kernel) Close(fd int) error {
	err := unix.Close(fd)
	if err == unix.EINTR {
		return nil
	}
	return err
}

// Connect does not try again: an interrupted connect goes on by itself, and a second one would say EALREADY.
func (*Kernel) Connect(fd int, sa unix.Sockaddr) error {
	err := unix.Connect(fd, sa)
	if err == unix.EINTR {
		return unix.EINPROGRESS
	}
	return err
}

// SockError implements Calls.
func (*Kernel) SockError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return unix.Errno(n)
	}
	return nil
}

// SendTo implements Calls.
func (*Kernel) SendTo(fd int, p []byte, sa unix.Sockaddr) error {
	for {
		err := unix.Sendto(fd, p, 0, sa)
		if err != unix.EINTR {
			return err
		}
	}
}
