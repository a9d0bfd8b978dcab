//go:build darwin || freebsd

// Experimental: compiled and vetted for darwin and freebsd, never run by the authors.

package sock

import "golang.org/x/sys/unix"

// HasPacketInfo reports whether a socket can report to which of its addresses a datagram was sent, and send from one of them. It is not
// implemented on these systems.
const HasPacketInfo = false

// ReceivePacketInfo makes RecvMsg return the local address if HasPacketInfo is true.
func ReceivePacketInfo(int, bool) error { return nil }

// RecvMsg implements Calls.
func (k *Kernel) RecvMsg(fd int, p []byte) (n int, from, local Peer, err error) {
	n, from, err = k.RecvFrom(fd, p)
	return n, from, Peer{}, err
}

// SendMsg implements Calls.
func (k *Kernel) SendMsg(fd int, p []byte, to, local Peer) error {
	if local != (Peer{}) {
		return unix.EOPNOTSUPP
	}
	var room Sockaddrs
	return k.SendTo(fd, p, to.SockaddrIn(&room))
}
