//go:build linux || darwin || freebsd

package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// OpenFiles returns the number of descriptors that the process may have. Go raises this soft limit to the hard limit when a program starts.
func OpenFiles() (soft uint64, err error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	return uint64(lim.Cur), nil //nolint:unconvert // it is an int64 on FreeBSD
}

// Reserve is a descriptor that is kept for the case that no descriptor is free. When it is released, a server can accept the connection that
// would otherwise stay in the queue and keep the listener readable, and close it. The zero Reserve holds none. One
// goroutine at a time may use it.
type Reserve struct {
	fd   int
	held bool
}

// Open opens a descriptor if r holds none. It fails with unix.EMFILE if the process has no free descriptor, and with unix.ENFILE if the
// system has none.
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

// Release closes the descriptor if r holds one. Open opens another.
func (r *Reserve) Release() error {
	if !r.held {
		return nil
	}
	r.held = false
	return os.NewSyscallError("close", kernel.Close(r.fd))
}
