//go:build linux || darwin || freebsd

package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenFiles is how many descriptors the process may have. Go raises this soft limit to the hard one when it starts.
func OpenFiles() (soft uint64, err error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	return uint64(lim.Cur), nil //nolint:unconvert // it is an int64 on FreeBSD
}

// Reserve is a descriptor kept for the time when there are no more: released, it lets a server accept the connection that
// would stay in the queue and keep the listener readable for ever, and close it. The zero Reserve holds none. One
// goroutine at a time.
type Reserve struct {
	fd   int
	held bool
}

// Open takes a descriptor, where r holds none. With none left in the process it fails with unix.EMFILE, in the system
// with unix.ENFILE.
func (r *Reserve) Open() error {
	if r.held {
		return nil
	}
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("open "+os.DevNull, err)
		}
		r.fd, r.held = fd, true
		return nil
	}
}

// Held reports whether r holds a descriptor.
func (r *Reserve) Held() bool { return r.held }

// Release gives the descriptor up, where r holds one. Open takes another.
func (r *Reserve) Release() error {
	if !r.held {
		return nil
	}
	r.held = false
	return os.NewSyscallError("close", kernel.Close(r.fd))
}
