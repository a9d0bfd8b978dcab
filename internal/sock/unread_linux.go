package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// Unread returns the number of bytes of a stream that have arrived and were not read.
func Unread(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ) // SIOCINQ, of the same value
	return n, os.NewSyscallError("ioctl SIOCINQ", err)
}
