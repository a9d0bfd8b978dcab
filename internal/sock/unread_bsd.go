//go:build darwin || freebsd

package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// fionRead is FIONREAD of sys/filio.h: _IOR('f', 127, int).
const fionRead = 0x4004667f

// Unread returns the number of bytes of a stream that have arrived and were not read.
func Unread(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, fionRead)
	return n, os.NewSyscallError("ioctl FIONREAD", err)
}
