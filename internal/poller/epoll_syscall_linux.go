//go:build linux && !amd64

package poller

import "golang.org/x/sys/unix"

// sysEpollWait is the system call for polling without waiting. Newer architectures have only this one, which without a signal mask is
// equivalent to epoll_wait.
const sysEpollWait = unix.SYS_EPOLL_PWAIT
