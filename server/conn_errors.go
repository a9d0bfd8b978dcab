package server

import (
	"errors"

	"golang.org/x/sys/unix"
)

// wouldBlock reports whether a system call has to be repeated when the descriptor is ready.
func wouldBlock(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) }

// isPeerGone reports whether a read or a write has failed because the peer accepts no more output. Input that the peer has sent before may
// still arrive.
func isPeerGone(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ETIMEDOUT)
}
