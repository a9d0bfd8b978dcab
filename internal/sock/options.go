//go:build linux || darwin || freebsd

package sock

import (
	"fmt"
	"math"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Options are options of sockets. Their meaning is documented at server.SocketOptions, which has the same fields in the same order so that it
// can be converted. The documentation of an internal type would not be shown to users.
type Options struct {
	Delay                   bool
	KeepAlive               net.KeepAliveConfig
	NoKeepAlive             bool
	ReadBuffer, WriteBuffer int
	LingerSeconds           int
	UserTimeout             time.Duration
	DeferAccept             time.Duration
	FastOpen                int
	Device                  string
	ReusePort               bool
	IPv6Only                bool
}

// The limits of Linux; those of other systems are not lower.
const (
	maxKeepAlive = 32767 * time.Second
	maxProbes    = 127
	maxSeconds   = 1 << 16 // a longer time is probably in the wrong unit
	maxDevice    = 15
)

// Check returns an error for a field that the network or this system does not support, and for an invalid value. The error names the field. network is
// tcp, tcp4, tcp6, udp, udp4, udp6, unix or unixgram. Errors wrap unix.EINVAL, or unix.EOPNOTSUPP if the value is
// valid on another network or system.
func (o *Options) Check(network string) error {
	if err := checkNetwork(network, slices.Concat(streams, datagrams)...); err != nil {
		return err
	}
	if err := o.checkValues(); err != nil {
		return err
	}
	for _, f := range []struct {
		field   string
		value   any
		set, ok bool // ok: the network supports it
		linux   bool // only Linux supports it
	}{
		{"UserTimeout", o.UserTimeout, o.UserTimeout != 0, true, true},
		{"DeferAccept", o.DeferAccept, o.DeferAccept != 0, isTCP(network), true},
		{"FastOpen", o.FastOpen, o.FastOpen != 0, isTCP(network), true},
		{"Device", o.Device, o.Device != "", !isUnix(network), true},
		{"ReusePort", o.ReusePort, o.ReusePort, !isUnix(network), false},
		{"IPv6Only", o.IPv6Only, o.IPv6Only, !isUnix(network) && network != "tcp4" && network != "udp4", false},
	} {
		switch {
		case f.set && !f.ok:
			return fmt.Errorf("sock: %s %v: %w on network %s", f.field, f.value, unix.EOPNOTSUPP, network)
		case f.set && f.linux && !onLinux:
			return fmt.Errorf("sock: %s %v: %w on this system", f.field, f.value, unix.EOPNOTSUPP)
		}
	}
	return nil
}

func (o *Options) checkValues() error {
	for _, f := range []struct {
		field string
		value any
		bad   bool
	}{
		{"ReadBuffer", o.ReadBuffer, o.ReadBuffer < 0 || o.ReadBuffer > math.MaxInt32/2},
		{"WriteBuffer", o.WriteBuffer, o.WriteBuffer < 0 || o.WriteBuffer > math.MaxInt32/2},
		{"LingerSeconds", o.LingerSeconds, o.LingerSeconds > maxSeconds},
		{"UserTimeout", o.UserTimeout, o.UserTimeout < 0 || o.UserTimeout > math.MaxInt32*time.Millisecond},
		{"DeferAccept", o.DeferAccept, o.DeferAccept < 0 || o.DeferAccept > maxSeconds*time.Second},
		{"FastOpen", o.FastOpen, o.FastOpen < 0 || o.FastOpen > math.MaxUint16},
		{"Device", o.Device, len(o.Device) > maxDevice},
		{"KeepAlive.Idle", o.KeepAlive.Idle, o.KeepAlive.Idle > maxKeepAlive},
		{"KeepAlive.Interval", o.KeepAlive.Interval, o.KeepAlive.Interval > maxKeepAlive},
		{"KeepAlive.Count", o.KeepAlive.Count, o.KeepAlive.Count > maxProbes},
		{"NoKeepAlive", "with KeepAlive.Enable", o.NoKeepAlive && o.KeepAlive.Enable},
	} {
		if f.bad {
			return fmt.Errorf("sock: %s %v: %w", f.field, f.value, unix.EINVAL)
		}
	}
	return nil
}

// PerConn reports whether ApplyConn is needed for a connection that was accepted from a listener to which o
// was applied.
func (o *Options) PerConn(network string) bool {
	switch {
	case isTCP(network):
		return !InheritsOptions
	case isUnix(network):
		return o.ReadBuffer != 0 || o.WriteBuffer != 0 // connect makes a new socket for the listener's side, on every system
	}
	return false
}
