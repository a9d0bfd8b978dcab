package sock

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// HasPacketInfo reports whether a socket can report to which of its addresses a datagram was sent, and send from one of them.
const HasPacketInfo = true

// ReceivePacketInfo makes RecvMsg on fd, a socket for datagrams, return the local address. On an IPv6 socket (v6) both options report a datagram of
// IPv4. The one of IPv6 has the destination of the IP header, which cannot be used as a source address if it is a broadcast address.
func ReceivePacketInfo(fd int, v6 bool) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return err
	}
	if v6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return nil
}

// The sizes of the two control messages, with their headers, as the kernel aligns them.
var (
	infoSpace4 = unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	infoSpace6 = unix.CmsgSpace(unix.SizeofInet6Pktinfo)
)

// control is a buffer for the control messages of a datagram, aligned for their headers.
type control struct {
	_ [0]uint64
	b [96]byte
}

// RecvMsg implements Calls.
func (*Kernel) RecvMsg(fd int, p []byte) (n int, from, local Peer, err error) {
	p = p[:min(len(p), MaxRaw)]
	var rsa unix.RawSockaddrAny
	var oob control
	vec := unix.Iovec{Base: unsafe.SliceData(p)}
	vec.SetLen(len(p))
	for {
		msg := unix.Msghdr{Name: (*byte)(unsafe.Pointer(&rsa)), Namelen: unix.SizeofSockaddrAny, Iov: &vec, Control: &oob.b[0]}
		msg.SetIovlen(1)
		msg.SetControllen(len(oob.b))
		n, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), 0)
		runtime.KeepAlive(p) // only msg refers to it, and the compiler does not know that the kernel reads msg
		if errno == 0 {
			from = peerOfRaw(&rsa)
			return int(n), from, localOf(oob.b[:msg.Controllen], from.IsIPv6()), nil
		}
		if errno != unix.EINTR {
			return 0, Peer{}, Peer{}, errno
		}
	}
}

// localOf returns the address in control messages, in the form that a socket of the sender's family uses. It returns the zero Peer if there is
// none, or if it is a multicast group. The zone is set if the address is link-local.
func localOf(oob []byte, v6 bool) (local Peer) {
	for len(oob) >= unix.SizeofCmsghdr {
		head := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		size := int(head.Len)
		if size < unix.SizeofCmsghdr || size > len(oob) {
			break
		}
		data := oob[unix.CmsgLen(0):size]
		switch {
		case head.Level == unix.IPPROTO_IP && head.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
			local = peer4(info.Spec_dst, 0)
			if v6 {
				local.family = unix.AF_INET6
			}
			return local // for IPv4 it is preferred to the address of the other option
		case head.Level == unix.IPPROTO_IPV6 && head.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			local = peer6(info.Addr, 0, 0)
			switch ip := local.AddrPort().Addr(); {
			case ip.IsMulticast():
				local = Peer{}
			case ip.IsLinkLocalUnicast():
				local.setZone(info.Ifindex)
			}
		}
		oob = oob[min(len(oob), (size+unix.SizeofPtr-1)&^(unix.SizeofPtr-1)):]
	}
	return local
}

// SendMsg implements Calls.
func (*Kernel) SendMsg(fd int, p []byte, to, local Peer) error {
	var name struct {
		_  [0]uint64
		v4 unix.RawSockaddrInet4
		v6 unix.RawSockaddrInet6
	}
	var oob control
	vec := unix.Iovec{Base: unsafe.SliceData(p)}
	vec.SetLen(len(p))
	msg := unix.Msghdr{Iov: &vec}
	msg.SetIovlen(1)
	switch to.family {
	case unix.AF_INET:
		name.v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: networkOrder(to.portNumber()), Addr: [4]byte(to.ip[12:])}
		msg.Name, msg.Namelen = (*byte)(unsafe.Pointer(&name.v4)), unix.SizeofSockaddrInet4
	case unix.AF_INET6:
		name.v6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: networkOrder(to.portNumber()), Addr: to.ip, Scope_id: to.zoneID()}
		msg.Name, msg.Namelen = (*byte)(unsafe.Pointer(&name.v6)), unix.SizeofSockaddrInet6
	}
	if size := local.putInfo(&oob); size > 0 {
		msg.Control = &oob.b[0]
		msg.SetControllen(size)
	}
	for {
		_, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), unix.MSG_NOSIGNAL)
		runtime.KeepAlive(p)
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// putInfo writes the control message for sending from p, and returns its size; 0 for the zero Peer.
func (p Peer) putInfo(oob *control) (size int) {
	head := (*unix.Cmsghdr)(unsafe.Pointer(&oob.b[0]))
	data := unsafe.Pointer(&oob.b[unix.CmsgLen(0)])
	switch p.family {
	case unix.AF_INET:
		head.Level, head.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		head.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		(*unix.Inet4Pktinfo)(data).Spec_dst = [4]byte(p.ip[12:])
		return infoSpace4
	case unix.AF_INET6:
		head.Level, head.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		head.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		*(*unix.Inet6Pktinfo)(data) = unix.Inet6Pktinfo{Addr: p.ip, Ifindex: p.zoneID()}
		return infoSpace6
	}
	return 0
}

// networkOrder is the inverse of hostOrder, which is the same function.
func networkOrder(port uint16) uint16 { return hostOrder(port) }
