//go:build linux || darwin || freebsd

package pollertest

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// own makes fd non-blocking and closes it in the end.
func (c *check) own(fd int) int {
	c.t.Helper()
	c.owned[fd] = true
	unix.CloseOnExec(fd)
	c.must("set non-blocking", unix.SetNonblock(fd, true))
	return fd
}

func (c *check) close(fds ...int) {
	c.t.Helper()
	for _, fd := range fds {
		delete(c.owned, fd)
		c.must("close", unix.Close(fd))
	}
}

// pipe makes a pipe: r is readable when something was written to w.
func (c *check) pipe() (r, w int) {
	c.t.Helper()
	var p [2]int
	c.must("pipe", unix.Pipe(p[:]))
	return c.own(p[0]), c.own(p[1])
}

// pair makes two connected sockets.
func (c *check) pair() (a, b int) {
	c.t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	c.must("socketpair", err)
	return c.own(p[0]), c.own(p[1])
}

// tcp makes two connected sockets of the loopback interface: only TCP has resets.
func (c *check) tcp() (a, b int) {
	c.t.Helper()
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	c.must("socket", err)
	defer unix.Close(l)
	c.must("bind", unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	c.must("listen", unix.Listen(l, 1))
	at, err := unix.Getsockname(l)
	c.must("getsockname", err)
	a, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	c.must("socket", err)
	c.must("connect", unix.Connect(a, at))
	b, _, err = unix.Accept(l)
	c.must("accept", err)
	return c.own(a), c.own(b)
}

// file opens a regular file with one byte in it.
func (c *check) file() int {
	c.t.Helper()
	name := filepath.Join(c.t.TempDir(), "file")
	c.must("write file", os.WriteFile(name, []byte{1}, 0o600))
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	c.must("open", err)
	c.owned[fd] = true
	return fd
}

// high duplicates fd to a number of at least from, above the numbers that other code opens.
func (c *check) high(fd, from int) int {
	c.t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, from)
	c.must("dup", err)
	c.owned[dup] = true
	return dup
}

func (c *check) write(fd int) {
	c.t.Helper()
	c.must("write", writeByte(fd))
}

func (c *check) drain(fd int) {
	c.t.Helper()
	c.must("read", drain(fd))
}

func writeByte(fd int) error {
	_, err := unix.Write(fd, []byte{1})
	return err
}

func drain(fd int) error {
	var buf [512]byte
	for {
		n, err := unix.Read(fd, buf[:])
		if err == unix.EAGAIN || err == nil && n == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fill writes until the buffer is full.
func (c *check) fill(fd int) {
	c.t.Helper()
	buf := make([]byte, 4096)
	for {
		_, err := unix.Write(fd, buf)
		if err == unix.EAGAIN {
			return
		}
		c.must("write", err)
	}
}

// descriptors lists what is open among the numbers that a small program uses.
func descriptors() map[int]bool {
	open := map[int]bool{}
	for fd := range 4096 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open[fd] = true
		}
	}
	return open
}
