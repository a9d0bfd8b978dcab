//go:build linux || darwin || freebsd

package poller

import (
	"os"

	"golang.org/x/sys/unix"
)

// checkOpen returns an error if fd is not open. It is for backends whose system call does not report that.
func checkOpen(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return os.NewSyscallError("fcntl", err)
}

// checkWant returns an error if want needs a feature that is not in can, or if tag is reserved.
func checkWant(op string, can Features, want Flags, tag uint64) error {
	if want&Edge != 0 && !can.Has(FeatureEdge) || want&Closed != 0 && !can.Has(FeatureClosed) {
		return os.NewSyscallError(op, unix.EOPNOTSUPP)
	}
	if tag == wakeTag {
		return os.NewSyscallError(op, unix.EINVAL)
	}
	return nil
}
