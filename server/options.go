package server

import (
	"net"
	"time"

	"github.com/evmq/evmq/internal/sock"
)

// SocketOptions are options of a server's sockets. The zero value is what the standard library does: no-delay on, keep-alive after
// 15 s of silence, every 15 s, 9 times, and the system's buffers. What is about TCP connections (Delay, KeepAlive, NoKeepAlive,
// LingerSeconds, UserTimeout) is ignored on other networks; what a listener would have to do otherwise is refused there.
// Options marked Linux are errors elsewhere: ErrInvalid, which names the field.
type SocketOptions struct {
	Delay bool // leave Nagle's algorithm on: small writes wait for the acknowledgement of the one before

	// KeepAlive has the times of keep-alive: 0 is the default above, negative the system's. At most 32767 s each and 127 times.
	// Enable is not looked at, except that it contradicts NoKeepAlive.
	KeepAlive   net.KeepAliveConfig
	NoKeepAlive bool

	ReadBuffer, WriteBuffer int // the kernel's, in bytes, 0: the system's; Linux doubles them, all systems have a limit

	// LingerSeconds is what close does with bytes not yet sent: 0, the system goes on sending them; more, close waits
	// for them, and with it the loop; negative, they are thrown away and the connection is reset.
	LingerSeconds int

	// UserTimeout is how long sent bytes may stay unacknowledged before the connection fails (Linux). It is not set on connections of
	// Multipath TCP, which the listeners of package net accept from clients that ask for it.
	UserTimeout time.Duration

	// Of listeners, and sockets for datagrams.

	DeferAccept time.Duration // TCP: a connection is accepted when its first bytes are here, or after so long (Linux)
	FastOpen    int           // TCP: how many connections may wait that brought bytes in their first packet (Linux)
	Device      string        // only what comes through this interface; may need a privilege (Linux)
	ReusePort   bool          // several sockets may have the address, and the kernel spreads over them; not of unix sockets
	IPv6Only    bool          // an IPv6 wildcard does not take IPv4 as well; IPv6 sockets only
}

// socket are the options as the room below has them.
func (cfg *config) socket() *sock.Options { return (*sock.Options)(&cfg.Socket) }
