//go:build linux || freebsd

package sock

import "golang.org/x/sys/unix"

func socket(domain, kind int) (int, error) {
	return unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}
