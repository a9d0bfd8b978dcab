package server

import (
	"net"
	"time"

	"github.com/evmq/evmq/internal/sock"
)

// SocketOptions are options of a server's sockets. The zero value of each field means the default of package net: no-delay, keep-alive probes
// after 15 s of silence, every 15 s, 9 times, and the system's buffers.
//
// The options of TCP connections (Delay, KeepAlive, NoKeepAlive, LingerSeconds, UserTimeout) are ignored on other networks. An option of
// listeners makes Listen or ListenPacket fail if the network does not have it. An option that is marked Linux makes Start fail on other
// systems. All errors are ErrInvalid and name the field.
type SocketOptions struct {
	// Delay leaves Nagle's algorithm on: a small write waits for the acknowledgement of the one before.
	Delay bool
	// KeepAlive has the times of keep-alive probes, at most 32767 s each, and their number, at most 127. In each field 0 means the
	// default above, and a negative value the system's. Enable is only checked against NoKeepAlive.
	KeepAlive net.KeepAliveConfig
	// NoKeepAlive turns keep-alive probes off. Together with KeepAlive.Enable it is an error.
	NoKeepAlive bool
	// ReadBuffer and WriteBuffer are the sizes of the kernel's buffers in bytes. 0 means the system's; a negative value is an error. Linux
	// doubles them, and each system has a limit.
	ReadBuffer, WriteBuffer int
	// LingerSeconds says what happens to unsent bytes when a descriptor is closed. 0 means that the system sends them later. With a
	// positive value, the call that closes the descriptor, and with it the loop, waits for at most that time until they are acknowledged.
	// With a negative value they are discarded and the connection is reset.
	LingerSeconds int
	// UserTimeout is the time for which sent bytes may remain unacknowledged before the connection fails (Linux). 0 means the system's; a
	// negative value is an error. It is not set on connections of Multipath TCP, which listeners of package net accept from clients that
	// ask for it.
	UserTimeout time.Duration

	// DeferAccept makes a TCP listener accept a connection when its first bytes have arrived, or after that time (Linux). 0 means off; a
	// negative value is an error.
	DeferAccept time.Duration
	// FastOpen limits the TCP connections that wait to be established and have sent bytes in their first packet (Linux). 0 means off; a
	// negative value is an error.
	FastOpen int
	// Device is the name of the interface that a listener or a socket for datagrams receives from, which may need a privilege (Linux). ""
	// means all.
	Device string
	// ReusePort lets several sockets have the same address; the kernel distributes connections or datagrams over them. Unix sockets do not
	// have this option. See also Server.ReusePort.
	ReusePort bool
	// IPv6Only makes a socket that is bound to the IPv6 wildcard address receive no IPv4. Only IPv6 sockets have this option.
	IPv6Only bool
}

// socket returns the options for package sock. The conversion compiles only while both structs have the same fields.
func (cfg *config) socket() *sock.Options { return (*sock.Options)(&cfg.Socket) }
