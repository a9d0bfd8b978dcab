//go:build linux || darwin || freebsd

package sock

import "golang.org/x/sys/unix"

// A write to a socket whose peer is gone also raises SIGPIPE, unless MSG_NOSIGNAL is set. The runtime ignores the signal (only
// os.File raises it again, for descriptors 1 and 2), so calls without that flag do not need it.

// Shutdown implements Calls.
func (*Kernel) Shutdown(fd, how int) error { return unix.Shutdown(fd, how) }

// Close is not repeated after EINTR: Linux has closed the descriptor then, and another file may have its number.
func (*Kernel) Close(fd int) error {
	err := unix.Close(fd)
	if err == unix.EINTR {
		return nil
	}
	return err
}

// Connect is not repeated after EINTR: an interrupted connect continues, and a second one would return EALREADY.
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
