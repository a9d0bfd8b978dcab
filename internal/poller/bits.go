//go:build linux || darwin || freebsd

package poller

import "golang.org/x/sys/unix"

// The conditions as bits of poll(2). epoll has the same values.

var bitTable = [...]struct {
	flag Flags
	bit  uint32
}{
	{Read, unix.POLLIN},
	{Write, unix.POLLOUT},
	{Closed, pollRDHUP},
}

func toBits(want Flags) (bits uint32) {
	for _, b := range bitTable {
		if want&b.flag != 0 {
			bits |= b.bit
		}
	}
	return bits
}

// fromBits translates reported bits. A hang-up counts as Read, Write and Closed: reads return the end of file, writes fail, and the peer
// has closed. An error counts as Read and Write, so that a caller that waits for either makes the call that returns the error.
func fromBits(bits uint32) (what Flags) {
	if bits&unix.POLLIN != 0 {
		what |= Read
	}
	if bits&unix.POLLOUT != 0 {
		what |= Write
	}
	if bits&pollRDHUP != 0 {
		what |= Closed
	}
	if bits&unix.POLLHUP != 0 {
		what |= Read | Write | Closed
	}
	if bits&unix.POLLERR != 0 {
		what |= Read | Write | Error
	}
	if bits&unix.POLLNVAL != 0 {
		what |= Invalid
	}
	return what
}
