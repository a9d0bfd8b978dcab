package server

import (
	"errors"

	"golang.org/x/sys/unix"
)

// wouldBlock says that a call is to be made again when the descriptor is ready.
func wouldBlock(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) }

// isPeerGone reports whether a write has failed because the peer takes no more. What the peer has sent before may still be read.
func isPeerGone(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ETIMEDOUT)
}
