//go:build darwin || freebsd

// Experimental: compiled and vetted for darwin and freebsd, never run by the authors.

package sock

import "golang.org/x/sys/unix"

// Read implements Calls.
func (*Kernel) Read(fd int, p []byte) (int, error) {
	p = p[:min(len(p), MaxRaw)]
	for {
		n, err := unix.Read(fd, p)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// Write implements Calls.
func (*Kernel) Write(fd int, p []byte) (int, error) {
	p = p[:min(len(p), MaxRaw)]
	for {
		n, err := unix.Write(fd, p)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// Writev shortens the buffer that reaches beyond MaxRaw, in the caller's list, until it returns.
func (k *Kernel) Writev(fd int, bufs [][]byte) (int, error) {
	bufs = bufs[:min(len(bufs), MaxVec)]
	room := MaxRaw
	for i, b := range bufs {
		if len(b) > room {
			bufs[i] = b[:room]
			defer func() { bufs[i] = b }()
			bufs = bufs[:i+1]
			break
		}
		room -= len(b)
	}
	if len(bufs) == 0 {
		return 0, nil
	}
	for {
		n, err := unix.SendmsgBuffers(fd, bufs, nil, nil, 0)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// Accept implements Calls.
func (*Kernel) Accept(fd int) (nfd int, peer Peer, err error) {
	for {
		nfd, sa, err := accept(fd)
		if err == nil {
			return nfd, PeerOf(sa), nil
		}
		if err != unix.EINTR {
			return -1, Peer{}, err
		}
	}
}

// RecvFrom implements Calls.
func (*Kernel) RecvFrom(fd int, p []byte) (n int, from Peer, err error) {
	p = p[:min(len(p), MaxRaw)]
	for {
		n, sa, err := unix.Recvfrom(fd, p, 0)
		if err == nil {
			return n, PeerOf(sa), nil
		}
		if err != unix.EINTR {
			return 0, Peer{}, err
		}
	}
}

// SendFile changes offset itself. If an error follows bytes that were sent, it returns their number, and the next call returns the error.
// For the system call, a count of 0 means the whole file.
func (*Kernel) SendFile(out, in int, offset *int64, n int) (int, error) {
	if n <= 0 {
		return 0, nil
	}
	for {
		sent, err := unix.Sendfile(out, in, offset, n)
		switch {
		case sent > 0 && (err == nil || err == unix.EAGAIN || err == unix.EINTR): // after other errors the count is not valid
			*offset += int64(sent)
			return sent, nil
		case err != unix.EINTR:
			return 0, err
		}
	}
}
