package poller

import "golang.org/x/sys/unix"

// sysEpollLook looks without waiting. Where the kernel has the older call it is some 20 ns cheaper than epoll_pwait.
const sysEpollLook = unix.SYS_EPOLL_WAIT
