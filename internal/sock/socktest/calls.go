//go:build linux || darwin || freebsd

package socktest

import (
	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// Read implements sock.Calls.
func (f *Faulty) Read(fd int, p []byte) (int, error) {
	limit, err := f.fault(Read, fd, len(p))
	if err != nil {
		return 0, err
	}
	return f.inner.Read(fd, p[:limit])
}

// Write implements sock.Calls.
func (f *Faulty) Write(fd int, p []byte) (int, error) {
	limit, err := f.fault(Write, fd, len(p))
	if err != nil {
		return 0, err
	}
	return f.inner.Write(fd, p[:limit])
}

// Writev implements sock.Calls.
func (f *Faulty) Writev(fd int, bufs [][]byte) (int, error) {
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	limit, err := f.fault(Writev, fd, size)
	if err != nil {
		return 0, err
	}
	if limit < size {
		bufs = head(bufs, limit)
	}
	return f.inner.Writev(fd, bufs)
}

// head returns a new list with the first limit bytes.
func head(bufs [][]byte, limit int) [][]byte {
	var cut [][]byte
	for _, b := range bufs {
		if limit == 0 {
			break
		}
		b = b[:min(len(b), limit)]
		limit -= len(b)
		cut = append(cut, b)
	}
	return cut
}

// Accept implements sock.Calls.
func (f *Faulty) Accept(fd int) (int, sock.Peer, error) {
	if _, err := f.fault(Accept, fd, 0); err != nil {
		return -1, sock.Peer{}, err
	}
	return f.inner.Accept(fd)
}

// SendFile implements sock.Calls.
func (f *Faulty) SendFile(out, in int, offset *int64, n int) (int, error) {
	limit, err := f.fault(SendFile, out, n)
	if err != nil {
		return 0, err
	}
	return f.inner.SendFile(out, in, offset, limit)
}

// Shutdown implements sock.Calls.
func (f *Faulty) Shutdown(fd, how int) error {
	if _, err := f.fault(Shutdown, fd, 0); err != nil {
		return err
	}
	return f.inner.Shutdown(fd, how)
}

// Close implements sock.Calls. It closes the descriptor also if it returns an injected error.
func (f *Faulty) Close(fd int) error {
	_, fault := f.fault(Close, fd, 0)
	if err := f.inner.Close(fd); err != nil {
		return err
	}
	return fault
}

// Connect implements sock.Calls.
func (f *Faulty) Connect(fd int, sa unix.Sockaddr) error {
	if _, err := f.fault(Connect, fd, 0); err != nil {
		return err
	}
	return f.inner.Connect(fd, sa)
}

// SockError implements sock.Calls.
func (f *Faulty) SockError(fd int) error {
	if _, err := f.fault(SockError, fd, 0); err != nil {
		return err
	}
	return f.inner.SockError(fd)
}

// SendTo implements sock.Calls.
func (f *Faulty) SendTo(fd int, p []byte, sa unix.Sockaddr) error {
	if _, err := f.fault(SendTo, fd, 0); err != nil {
		return err
	}
	return f.inner.SendTo(fd, p, sa)
}

// SendMsg implements sock.Calls.
func (f *Faulty) SendMsg(fd int, p []byte, to, local sock.Peer) error {
	if _, err := f.fault(SendMsg, fd, 0); err != nil {
		return err
	}
	return f.inner.SendMsg(fd, p, to, local)
}

// RecvMsg implements sock.Calls.
func (f *Faulty) RecvMsg(fd int, p []byte) (n int, from, local sock.Peer, err error) {
	if _, err := f.fault(RecvMsg, fd, 0); err != nil {
		return 0, sock.Peer{}, sock.Peer{}, err
	}
	return f.inner.RecvMsg(fd, p)
}

// RecvFrom implements sock.Calls.
func (f *Faulty) RecvFrom(fd int, p []byte) (int, sock.Peer, error) {
	if _, err := f.fault(RecvFrom, fd, 0); err != nil {
		return 0, sock.Peer{}, err
	}
	return f.inner.RecvFrom(fd, p)
}
