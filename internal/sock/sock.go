//go:build linux || darwin || freebsd

// Package sock provides the socket operations of a server: the system calls of its hot paths, the options of its listeners and
// connections, and the exchange of descriptors with the standard library.
//
// Every descriptor is non-blocking, close-on-exec and above 2, and is watched by the caller's own poller, never by the
// runtime's. The calls are methods of the interface [Calls], so that a test can make them fail; package socktest does. Policy, such as the
// reaction to EAGAIN or EMFILE and the time of a close, belongs to the server.
//
// On Linux, calls whose time is bounded are raw system calls, without the Go scheduler: notifying it takes a considerable part of a call of about a
// microsecond, and it takes longer if the scheduler takes the processor away during a read. The bound is [MaxRaw] bytes,
// copied on a descriptor that does not block. Calls that may sleep or access a disk notify the scheduler.
package sock

import "golang.org/x/sys/unix"

const (
	// MaxRaw is the largest number of bytes that one Read, Write or Writev transfers. If a write is cut, Linux is notified that
	// more bytes follow (MSG_MORE), or the end of the part would be sent in a packet of its own. With 64 KB instead of 256 KB a value of 250 KB
	// takes a fifth more processor time; see docs/measurements.md.
	MaxRaw = 256 << 10

	// MaxVec is the largest number of buffers that one Writev writes. The caller writes the others with the next call.
	MaxVec = 16
)

// Calls are the system calls of a server. A call that a signal has interrupted is repeated. An error is a unix.Errno that is not wrapped and can be
// compared with ==. With an error a count is 0 and a descriptor -1. On Linux no
// call allocates. Any goroutine may call the methods; the caller is responsible for the order of bytes.
type Calls interface {
	// Read reads at most MaxRaw bytes. 0 means the end of the stream if p is not empty. If there are no bytes, the error is unix.EAGAIN.
	Read(fd int, p []byte) (int, error)

	// Write writes at most MaxRaw bytes, and may write fewer. The error is unix.EAGAIN if there is no room, and unix.EPIPE or
	// unix.ECONNRESET if the peer is gone.
	Write(fd int, p []byte) (int, error)

	// Writev writes as Write does, at most MaxRaw bytes from the first MaxVec of bufs.
	Writev(fd int, bufs [][]byte) (int, error)

	// Accept accepts one connection, non-blocking and close-on-exec. unix.EAGAIN: none waits. unix.ECONNABORTED: a client has
	// disconnected. unix.EMFILE, unix.ENFILE: no descriptor is free, and the connection still waits (see Reserve).
	Accept(fd int) (nfd int, peer Peer, err error)

	// SendFile sends at most n bytes of the file in, from offset, which it increases. 0 means the end of the file if n
	// is not 0. It may wait for a disk.
	SendFile(out, in int, offset *int64, n int) (int, error)

	// Shutdown ends one direction or both: unix.SHUT_RD, SHUT_WR, SHUT_RDWR.
	Shutdown(fd, how int) error

	// Close closes fd, also if it returns an error. If LingerSeconds is set, it may wait.
	Close(fd int) error

	// Connect starts to connect. After unix.EINPROGRESS fd becomes writable when the attempt has ended, and SockError returns its
	// error. A unix socket connects at once, or fails with unix.EAGAIN if the listener's queue is full.
	Connect(fd int, sa unix.Sockaddr) error

	// SockError returns and clears the socket's pending error, nil if there is none.
	SockError(fd int) error

	// SendTo sends one datagram, completely or not at all. With a nil sa it is sent to the connected peer.
	SendTo(fd int, p []byte, sa unix.Sockaddr) error

	// RecvFrom receives one datagram. Bytes that do not fit in p, or are beyond MaxRaw, are lost; no IP datagram is that long.
	// from is the zero Peer if the sender has no name.
	RecvFrom(fd int, p []byte) (n int, from Peer, err error)

	// SendMsg is SendTo with a Peer, where the zero Peer means the connected one, and with the source address local, whose port is
	// ignored. With the zero Peer the system chooses the source address. unix.EINVAL or unix.ENETUNREACH: local is not an address of this machine.
	SendMsg(fd int, p []byte, to, local Peer) error

	// RecvMsg is RecvFrom, and also returns the address to which the datagram was sent, if ReceivePacketInfo was called. The
	// address has no port. It is the zero Peer if it cannot be a source address, as a multicast group.
	RecvMsg(fd int, p []byte) (n int, from, local Peer, err error)
}

// Kernel makes the system calls. Its methods have pointer receivers, since they are called through an interface.
type Kernel struct{}

var kernel Kernel

var _ Calls = &kernel
