package sock

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The conversion of an Errno to an error does not allocate, since the runtime has preallocated values below 256, and all errors of Linux are.

// Reads and writes use recvfrom and sendto, which only sockets have and which omit the work of read and write for other kinds of files, some
// five per cent of a small request. They use package syscall, whose functions have the calling convention of Go.

// Read implements Calls.
func (*Kernel) Read(fd int, p []byte) (int, error) {
	p = p[:min(len(p), MaxRaw)]
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Write implements Calls.
func (*Kernel) Write(fd int, p []byte) (int, error) {
	flags := uintptr(unix.MSG_NOSIGNAL)
	if len(p) > MaxRaw {
		p, flags = p[:MaxRaw], flags|unix.MSG_MORE
	}
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Writev shortens the buffer that reaches beyond MaxRaw.
func (*Kernel) Writev(fd int, bufs [][]byte) (int, error) {
	var vec [MaxVec]unix.Iovec
	used, room, flags := 0, MaxRaw, uintptr(unix.MSG_NOSIGNAL)
	for _, b := range bufs[:min(len(bufs), MaxVec)] {
		if len(b) > room {
			b, flags = b[:room], flags|unix.MSG_MORE
		}
		if len(b) == 0 {
			continue
		}
		vec[used].Base = &b[0]
		vec[used].SetLen(len(b))
		room -= len(b)
		used++
	}
	msg := unix.Msghdr{Iov: &vec[0]}
	msg.SetIovlen(used)
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)), flags)
		if errno == 0 {
			runtime.KeepAlive(bufs) // only msg refers to them, and the compiler does not know that the kernel reads msg
			return int(n), nil
		}
		if errno != unix.EINTR {
			runtime.KeepAlive(bufs)
			return 0, errno
		}
	}
}

// Accept is a raw system call, since it does not block. On 386 accept4 has a number of its own since Linux 4.3.
func (*Kernel) Accept(fd int) (nfd int, peer Peer, err error) {
	var rsa unix.RawSockaddrAny
	for {
		size := uint32(unix.SizeofSockaddrAny)
		n, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&rsa)),
			uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno == 0 {
			return int(n), peerOfRaw(&rsa), nil
		}
		if errno != unix.EINTR {
			return -1, Peer{}, errno
		}
	}
}

// RecvFrom implements Calls.
func (*Kernel) RecvFrom(fd int, p []byte) (n int, from Peer, err error) {
	p = p[:min(len(p), MaxRaw)]
	var rsa unix.RawSockaddrAny
	for {
		size := uint32(unix.SizeofSockaddrAny)
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), 0, uintptr(unsafe.Pointer(&rsa)), uintptr(unsafe.Pointer(&size)))
		if errno == 0 {
			return int(n), peerOfRaw(&rsa), nil
		}
		if errno != unix.EINTR {
			return 0, Peer{}, errno
		}
	}
}

// SendFile implements Calls.
func (*Kernel) SendFile(out, in int, offset *int64, n int) (int, error) {
	for {
		sent, err := unix.Sendfile(out, in, offset, n)
		if err == nil {
			return sent, nil
		}
		if err != unix.EINTR {
			return 0, err
		}
	}
}

// peerOfRaw decodes an address that the kernel has written. Unlike a unix.Sockaddr it is not allocated.
func peerOfRaw(rsa *unix.RawSockaddrAny) Peer {
	switch rsa.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(rsa))
		return peer4(sa.Addr, hostOrder(sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(rsa))
		return peer6(sa.Addr, hostOrder(sa.Port), sa.Scope_id)
	}
	return Peer{family: uint8(rsa.Addr.Family)}
}

// hostOrder returns a port that is in memory in network byte order.
func hostOrder(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}
