//go:build darwin || freebsd

package event

import "golang.org/x/sys/unix"

// reservedSignal reports whether the signal is beyond those that a program can use. 32 is the thread library's on FreeBSD, and
// Go's runtime knows no higher one there; darwin has 31.
func reservedSignal(s unix.Signal) bool { return s >= 32 }
