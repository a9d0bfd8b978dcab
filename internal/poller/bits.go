//go:build linux || darwin || freebsd

package poller

import "golang.org/x/sys/unix"

// The conditions as poll(2) writes them; epoll took over the values.

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

// fromBits widens a hang-up to everything that it makes possible: reads see the end, writes fail, the peer is gone.
// An error is both readable and writable, so that whoever waits for either makes the call that says which.
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
