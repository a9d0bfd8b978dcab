package sock

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// InheritsOptions says that a TCP connection has its listener's options when it is accepted.
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

func (o *Options) applyLinuxTCP(s *setter) {
	if o.UserTimeout != 0 {
		s.set("UserTimeout", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((o.UserTimeout+time.Millisecond-1)/time.Millisecond))
	}
}
