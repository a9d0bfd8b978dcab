package sock

import "golang.org/x/sys/unix"

const (
	reusePort = unix.SO_REUSEPORT_LB // SO_REUSEPORT does not distribute connections on FreeBSD
	keepIdle  = unix.TCP_KEEPIDLE
)
