//go:build linux || darwin || freebsd

package sock

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// The standard library's keep-alive.
const (
	defaultIdle     = 15 * time.Second
	defaultInterval = 15 * time.Second
	defaultProbes   = 9
)

// setter sets options until one fails. Its error names the option.
type setter struct {
	fd  int
	err error
}

func (s *setter) set(field string, level, name, value int) {
	if s.err == nil {
		s.done(field, value, unix.SetsockoptInt(s.fd, level, name, value))
	}
}

func (s *setter) done(field string, value any, err error) {
	if unsupported(err) && IsMultipath(s.fd) {
		return
	}
	if err != nil {
		s.err = &OptionError{field, value, err}
	}
}

// An OptionError says that the system has refused an option.
type OptionError struct {
	Field string
	Value any
	Err   error
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("sock: setting %s to %v: %v", e.Field, e.Value, e.Err)
}
func (e *OptionError) Unwrap() error { return e.Err }

// ApplyListener sets the options that a socket needs before it is bound, and those that connections inherit. Datagram sockets count as
// listeners. It does not repeat the checks of Check.
func (o *Options) ApplyListener(network string, fd int) error {
	s := setter{fd: fd}
	if o.ReusePort {
		s.set("ReusePort", unix.SOL_SOCKET, reusePort, 1)
	}
	if o.IPv6Only {
		s.set("IPv6Only", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	o.applyLinuxListener(network, &s)
	if s.err != nil {
		return s.err
	}
	return o.ApplyConn(network, fd) // the size of a buffer is used in the TCP handshake
}

func unsupported(err error) bool {
	return errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP)
}

// ApplyConn sets the options of a connection. If PerConn is false, an accepted connection has them already. Options that the system does
// not support on sockets of Multipath TCP are omitted there. On a connection that such a listener accepts from a client without
// Multipath TCP, ApplyConn sets all of them.
func (o *Options) ApplyConn(network string, fd int) error {
	s := setter{fd: fd}
	if o.ReadBuffer != 0 {
		s.set("ReadBuffer", unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReadBuffer)
	}
	if o.WriteBuffer != 0 {
		s.set("WriteBuffer", unix.SOL_SOCKET, unix.SO_SNDBUF, o.WriteBuffer)
	}
	if isTCP(network) {
		o.applyTCP(&s)
	}
	return s.err
}

func (o *Options) applyTCP(s *setter) {
	s.set("no-delay", unix.IPPROTO_TCP, unix.TCP_NODELAY, number(!o.Delay))
	s.set("keep-alive", unix.SOL_SOCKET, unix.SO_KEEPALIVE, number(!o.NoKeepAlive))
	if !o.NoKeepAlive {
		if d := o.KeepAlive.Idle; d >= 0 {
			s.set("KeepAlive.Idle", unix.IPPROTO_TCP, keepIdle, seconds(d, defaultIdle))
		}
		if d := o.KeepAlive.Interval; d >= 0 {
			s.set("KeepAlive.Interval", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(d, defaultInterval))
		}
		if n := o.KeepAlive.Count; n > 0 {
			s.set("KeepAlive.Count", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, n)
		} else if n == 0 {
			s.set("KeepAlive.Count", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, defaultProbes)
		}
	}
	if o.LingerSeconds != 0 && s.err == nil {
		linger := unix.Linger{Onoff: 1, Linger: int32(max(o.LingerSeconds, 0))}
		s.done("LingerSeconds", o.LingerSeconds, unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger))
	}
	o.applyLinuxTCP(s)
}

// seconds rounds up, since the kernel refuses 0.
func seconds(d, byDefault time.Duration) int {
	if d == 0 {
		d = byDefault
	}
	return int((d + time.Second - 1) / time.Second)
}

func number(on bool) int {
	if on {
		return 1
	}
	return 0
}
