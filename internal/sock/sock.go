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
	// MaxRaw is the most bytes that one Read, Write or Writev moves; they cut what is longer. A write that cuts tells Linux that
	// more comes at once, or the end of the piece would go in a packet of its own. With 64 KB instead of 256 a value of 250 KB
	// costs a fifth more processor time; see docs/measurements.md.
	MaxRaw = 256 << 10

	// MaxVec is the most buffers that one Writev takes; the others are left for the next.
	MaxVec = 16
)

// Calls are the system calls of a server. A call is made again when a signal interrupts it. An error is a bare unix.Errno,
// comparable with ==; a count beside one is 0, a descriptor -1. On Linux no
// call allocates. Any goroutine may call; that bytes stay in order is the caller's care.
type Calls interface {
	// Read reads at most MaxRaw bytes. 0 is the end of the stream, where p is not empty. Nothing to read is unix.EAGAIN.
	Read(fd int, p []byte) (int, error)

	// Write writes at most MaxRaw bytes, and may write fewer. No room is unix.EAGAIN, a gone peer unix.EPIPE or
	// unix.ECONNRESET.
	Write(fd int, p []byte) (int, error)

	// Writev writes as Write does, at most MaxRaw bytes from the first MaxVec of bufs.
	Writev(fd int, bufs [][]byte) (int, error)

	// Accept takes one connection, non-blocking and close-on-exec. unix.EAGAIN: none waits. unix.ECONNABORTED: one
	// went away. unix.EMFILE, unix.ENFILE: out of descriptors, and the connection still waits (see Reserve).
	Accept(fd int) (nfd int, peer Peer, err error)

	// SendFile sends at most n bytes of the file in, from offset, which it moves on. 0 is the end of the file, where n
	// is not 0. It may wait for a disk.
	SendFile(out, in int, offset *int64, n int) (int, error)

	// Shutdown ends one direction or both: unix.SHUT_RD, SHUT_WR, SHUT_RDWR.
	Shutdown(fd, how int) error

	// Close closes fd; whatever it says, fd is closed. Where the socket lingers, it waits as long.
	Close(fd int) error

	// Connect begins to connect. unix.EINPROGRESS: fd becomes writable when it is done, and SockError says how it
	// went. A unix socket connects at once or says unix.EAGAIN, where the listener's queue is full.
	Connect(fd int, sa unix.Sockaddr) error

	// SockError takes the socket's pending error, nil without one.
	SockError(fd int) error

	// SendTo sends one datagram, whole or not at all; sa nil: to the connected peer.
	SendTo(fd int, p []byte, sa unix.Sockaddr) error

	// RecvFrom takes one datagram. What does not fit in p, or is beyond MaxRaw, is lost; no datagram of IP is longer.
	// from is the zero Peer where the sender has no name.
	RecvFrom(fd int, p []byte) (n int, from Peer, err error)

	// SendMsg is SendTo with a Peer, the zero Peer for the connected one, and from the local address local, whose port does not
	// count; the zero Peer leaves it to the system. unix.EINVAL or unix.ENETUNREACH: local is no address of this machine.
	SendMsg(fd int, p []byte, to, local Peer) error

	// RecvMsg is RecvFrom, and tells to which address of this machine the datagram was sent, where ReceivePacketInfo was called:
	// without a port, and the zero Peer where it is not to be sent from, as a multicast group.
	RecvMsg(fd int, p []byte) (n int, from, local Peer, err error)
}

// Kernel makes the system calls. Its methods have pointer receivers, since they are called through an interface.
type Kernel struct{}

var kernel Kernel

var _ Calls = &kernel
