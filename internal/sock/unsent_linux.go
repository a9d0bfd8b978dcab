package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// Unsent returns the number of bytes of a stream that the peer's system has not acknowledged. A segment that ends the stream counts as one byte. For
// a unix socket it returns the memory of the bytes that the peer has not read.
func Unsent(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return n, os.NewSyscallError("ioctl SIOCOUTQ", err)
}
