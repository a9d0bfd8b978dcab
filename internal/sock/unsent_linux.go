package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// Unsent is how many bytes of a stream the peer's system has not acknowledged: a segment that ends the stream counts as one. Of a unix
// socket it is what the peer has not read, with overhead.
func Unsent(fd int) (int, error) {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	return n, os.NewSyscallError("ioctl SIOCOUTQ", err)
}
