package sock

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// accept and socket hold the lock so that no child is forked between making a descriptor and setting close-on-exec; darwin has no
// single call for both.

func accept(fd int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	nfd, sa, err := unix.Accept(fd)
	if err == nil {
		unix.CloseOnExec(nfd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, nil, err
	}
	return nfd, sa, unblock(nfd)
}

func socket(domain, kind int) (int, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(domain, kind, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, err
	}
	return fd, unblock(fd)
}

// unblock makes fd non-blocking. If it fails, it closes fd.
func unblock(fd int) error {
	err := unix.SetNonblock(fd, true)
	if err != nil {
		_ = unix.Close(fd) // the first error is returned
	}
	return err
}
