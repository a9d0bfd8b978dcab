//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/bench/internal/wsclient"
)

// A socket is an open WebSocket.
type socket struct {
	fd     int
	parser wsclient.Parser
	out    []byte // bytes for which the kernel had no room
}

const (
	batch   = 128 // handshakes that are not answered at a time
	seconds = 20  // for which reading or writing in a handshake waits
)

// openAll opens sockets that do not block.
func openAll(addr string, n int, path string, compress bool) (all []*socket, err error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	request := wsclient.Request(path, compress)
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(all))
		}
	}()
	for len(all) < n {
		first := len(all)
		for range min(batch, n-first) {
			s, err := dial(ap)
			if err != nil {
				return all, fmt.Errorf("socket %d: %w", len(all), err)
			}
			if all = append(all, s); !s.writeAll(request) {
				return all, fmt.Errorf("socket %d: the request is not sent", len(all))
			}
		}
		for i, s := range all[first:] {
			if err := s.opened(compress); err != nil {
				return all, fmt.Errorf("socket %d: %w", first+i, err)
			}
		}
	}
	return all, nil
}

// dial connects to the server. The calls on the socket block, for some time at most.
func dial(addr netip.AddrPort) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		// Closing resets the connection, so that its port can be used again at once.
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	}
	limit := unix.Timeval{Sec: seconds} // not for Connect, which a signal would interrupt then
	if err == nil {
		err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), unix.Close(fd))
	}
	return &socket{fd: fd}, nil
}

// writeAll writes to a socket that blocks.
func (s *socket) writeAll(p []byte) bool {
	n, err := unix.Write(s.fd, p)
	for err == unix.EINTR {
		n, err = unix.Write(s.fd, p)
	}
	return err == nil && n == len(p)
}

// head reads the head of an answer, from a socket that blocks, and what has come with it.
func (s *socket) head() (resp *http.Response, rest []byte, err error) {
	var text []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(text, []byte("\r\n\r\n")) {
		n, err := unix.Read(s.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return nil, nil, fmt.Errorf("the answer is %q: %w", text, errors.Join(err, net.ErrClosed))
		}
		text = append(text, buf[:n]...)
	}
	resp, err = http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
	_, rest, _ = bytes.Cut(text, []byte("\r\n\r\n"))
	return resp, rest, err
}

// opened ends the handshake. The calls on the socket do not block any more.
func (s *socket) opened(compress bool) error {
	resp, rest, err := s.head() //nolint:bodyclose // it has none
	if err == nil {
		err = wsclient.Check(resp, compress)
	}
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("the server sent %.40q after the handshake", rest)
	}
	return errors.Join(err, unix.SetNonblock(s.fd, true))
}

// send writes a frame, or keeps what the kernel has no room for.
func (s *socket) send(frame []byte) error {
	if len(s.out) > 0 {
		s.out = append(s.out, frame...)
		return nil
	}
	n, err := write(s.fd, frame)
	s.out = append(s.out, frame[n:]...)
	return err
}

// flush writes what was kept.
func (s *socket) flush() error {
	n, err := write(s.fd, s.out)
	s.out = s.out[:copy(s.out, s.out[n:])]
	return err
}

// write returns the number of bytes for which there was room.
func write(fd int, p []byte) (n int, err error) {
	n, err = unix.Write(fd, p)
	if err == unix.EAGAIN || err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	return n, nil
}

// read reads once into buf, and calls fn for each message that is complete.
func (s *socket) read(buf []byte, fn func(*wsclient.Message)) error {
	n, err := unix.Read(s.fd, buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return errors.New("the server has closed a socket")
	}
	return s.parser.Feed(buf[:n], fn)
}

func closeAll(all []*socket) (err error) {
	for _, s := range all {
		err = errors.Join(err, unix.Close(s.fd))
	}
	return err
}
