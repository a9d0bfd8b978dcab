package sock

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// InheritsOptions reports whether a TCP connection has its listener's options when it is accepted.
	InheritsOptions = true

	onLinux   = true
	reusePort = unix.SO_REUSEPORT
	keepIdle  = unix.TCP_KEEPIDLE
)

func (o *Options) applyLinuxListener(network string, s *setter) {
	if o.Device != "" && s.err == nil {
		s.done("Device", o.Device, unix.BindToDevice(s.fd, o.Device))
	}
	if !isTCP(network) {
		return
	}
	if o.DeferAccept != 0 {
		s.set("DeferAccept", unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds(o.DeferAccept, 0))
	}
	if o.FastOpen != 0 {
		s.set("FastOpen", unix.IPPROTO_TCP, unix.TCP_FASTOPEN, o.FastOpen)
	}
}

// IsMultipath reports whether fd is a socket of Multipath TCP.
func IsMultipath(fd int) bool {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && protocol == unix.IPPROTO_MPTCP
}

func (o *Options) applyLinuxTCP(s *setter) {
	if o.UserTimeout != 0 {
		s.set("UserTimeout", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((o.UserTimeout+time.Millisecond-1)/time.Millisecond))
	}
}
