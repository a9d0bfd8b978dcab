//go:build linux || darwin || freebsd

package poller

import (
	"os"

	"golang.org/x/sys/unix"
)

// checkOpen is for backends whose kernel call does not tell a closed descriptor from an open one.
func checkOpen(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return os.NewSyscallError("fcntl", err)
}

// checkWant refuses what a backend with these features cannot promise, and the tag that is its own.
func checkWant(op string, can Features, want Flags, tag uint64) error {
	if want&Edge != 0 && !can.Has(FeatureEdge) || want&Closed != 0 && !can.Has(FeatureClosed) {
		return os.NewSyscallError(op, unix.EOPNOTSUPP)
	}
	if tag == wakeTag {
		return os.NewSyscallError(op, unix.EINVAL)
	}
	return nil
}
