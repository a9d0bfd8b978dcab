//go:build linux && !amd64

package poller

import "golang.org/x/sys/unix"

// sysEpollLook looks without waiting. Newer architectures have only this call, which with no signal mask is the same.
const sysEpollLook = unix.SYS_EPOLL_PWAIT
