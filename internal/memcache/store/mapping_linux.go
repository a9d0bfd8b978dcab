//go:build !race

package store

import "golang.org/x/sys/unix"

const (
	mapFlags        = unix.MAP_NORESERVE
	adviceToDiscard = unix.MADV_DONTNEED
)
