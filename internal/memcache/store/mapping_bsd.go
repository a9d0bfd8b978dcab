//go:build (darwin || freebsd) && !race

package store

import "golang.org/x/sys/unix"

const (
	mapFlags        = 0
	adviceToDiscard = unix.MADV_FREE
)
