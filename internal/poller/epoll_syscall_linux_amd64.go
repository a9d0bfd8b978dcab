package poller

import "golang.org/x/sys/unix"

// sysEpollWait is the system call for polling without waiting. It is about 20 ns faster than epoll_pwait.
const sysEpollWait = unix.SYS_EPOLL_WAIT
