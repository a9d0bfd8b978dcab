package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// Unsent returns the number of bytes of a stream that the peer's system has not acknowledged.
func Unsent(fd int) (int, error) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	return n, os.NewSyscallError("getsockopt SO_NWRITE", err)
}
