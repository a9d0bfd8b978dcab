package tlstest

import (
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// A Conn is a net.Conn on the descriptor of a stream socket that blocks. It takes up four bytes, and has no deadlines. Close must not be
// called while another goroutine reads or writes.
type Conn struct{ fd int32 }

// Pair returns the two ends of a stream.
func Pair() (a, b *Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return NewConn(fds[0]), NewConn(fds[1]), nil
}

// NewConn returns a Conn that owns fd, the descriptor of a stream socket that blocks.
func NewConn(fd int) *Conn { return &Conn{int32(fd)} }

// Dial connects to addr, an address of a unix socket or of TCP with IPv4.
func Dial(addr net.Addr) (*Conn, error) {
	var family int
	var to unix.Sockaddr
	switch a := addr.(type) {
	case *net.UnixAddr:
		family, to = unix.AF_UNIX, &unix.SockaddrUnix{Name: a.Name}
	case *net.TCPAddr:
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}
	default:
		return nil, fmt.Errorf("dial %v: %w", addr, net.UnknownNetworkError(addr.Network()))
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.Connect(fd, to); err != nil {
		_ = unix.Close(fd) // the error before is returned
		return nil, fmt.Errorf("connect to %v: %w", addr, err)
	}
	return NewConn(fd), nil
}

// FD returns the descriptor.
func (c *Conn) FD() int { return int(c.fd) }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(c.FD(), p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, fmt.Errorf("read: %w", err)
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (n int, err error) {
	for n < len(p) {
		k, err := unix.Write(c.FD(), p[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, fmt.Errorf("write: %w", err)
		}
		n += k
	}
	return n, nil
}

// Close implements net.Conn.
func (c *Conn) Close() error { return unix.Close(c.FD()) }

// LocalAddr implements net.Conn. The address is empty.
func (c *Conn) LocalAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// RemoteAddr implements net.Conn. The address is empty.
func (c *Conn) RemoteAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// SetDeadline implements net.Conn. It does nothing.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn. It does nothing.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn. It does nothing.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
