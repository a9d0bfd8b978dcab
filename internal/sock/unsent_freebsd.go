package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// fionWrite is FIONWRITE of sys/filio.h: _IOR('f', 119, int).
const fionWrite = 0x40046677

// Unsent returns the number of bytes of a stream that the peer's system has not acknowledged.
func Unsent(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, fionWrite)
	return n, os.NewSyscallError("ioctl FIONWRITE", err)
}
