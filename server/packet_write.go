package server

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// WriteTo sends p as one datagram, at once and whole. It never waits. The datagram is sent from the address that Local returns; see
// PacketConn. The zero address means the peer of a connected socket. An IPv6 address may have a zone, the number or the name of an
// interface; a name is looked up in the system.
//
// Errors: ErrFull if the kernel's buffer is full; ErrClosed; or the system's, for example when p is too large for a datagram, or an ICMP
// error arrived about an earlier datagram. Nothing was sent then, and it is not tried again. That the kernel has a datagram does not mean
// that it arrives. Any goroutine.
func (pc *PacketConn) WriteTo(p []byte, to netip.AddrPort) (int, error) {
	n, err := pc.sendFrom(p, pc.local, to)
	if err != nil {
		return 0, fmt.Errorf("write %d bytes to %v: %w", len(p), to, err)
	}
	return n, nil
}

// WriteFrom is WriteTo with another address of this machine to send from. With the zero Addr, the system chooses. Errors: those of WriteTo;
// the system's if the address is not one of this machine, unix.EAFNOSUPPORT if it is of another family than the socket; ErrUnsupported on
// systems other than Linux. Any goroutine.
func (pc *PacketConn) WriteFrom(p []byte, from netip.Addr, to netip.AddrPort) (int, error) {
	var local sock.Peer
	var err error
	if from.IsValid() {
		local, err = sock.PeerAt(netip.AddrPortFrom(from, 0), pc.sockets[0].v6)
		if err == nil && !sock.HasPacketInfo {
			err = ErrUnsupported
		}
		if err != nil {
			pc.errors.Add(1)
		}
	}
	n := 0
	if err == nil {
		n, err = pc.sendFrom(p, local, to)
	}
	if err != nil {
		return 0, fmt.Errorf("write %d bytes from %v to %v: %w", len(p), from, to, err)
	}
	return n, nil
}

// sendFrom sends p and counts the outcome.
func (pc *PacketConn) sendFrom(p []byte, local sock.Peer, to netip.AddrPort) (int, error) {
	// Datagrams to one peer are sent on one socket, so that their order is kept.
	err := pc.sockets[int(to.Port())%len(pc.sockets)].send(p, local, to)
	switch {
	case err == nil:
		pc.sent.Add(1)
		pc.bytesSent.Add(uint64(len(p)))
		return len(p), nil
	case wouldBlock(err) || errors.Is(err, unix.ENOBUFS):
		pc.full.Add(1)
		err = ErrFull
	case !errors.Is(err, ErrClosed):
		pc.errors.Add(1)
	}
	return 0, err
}
