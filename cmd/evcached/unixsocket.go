//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// openUnix binds the socket of -s. The file is removed when its listener is closed. This comes after the change of user, so that the
// socket belongs to the user that removes it.
func (k *sockets) openUnix(s *settings) error {
	if s.socket == "" || len(s.passed) > 0 {
		return nil
	}
	if err := removeStale(s.socket); err != nil {
		return system("-s %s: %w", s.socket, err)
	}
	// The file must never have another mode. No other goroutine creates files at this time.
	mask := unix.Umask(int(fs.ModePerm &^ s.socketMode))
	l, err := listenStream("unix", s.socket, s.backlog)
	unix.Umask(mask)
	if err != nil {
		return system("-s %s: %w", s.socket, err)
	}
	k.bare = append(k.bare, l)
	return nil
}

// removeStale removes a socket without a listener. Any other file of that name is an error, and stays.
func removeStale(file string) error {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("a file of this name exists and is not a socket")
	}
	c, err := net.Dial("unix", file)
	switch {
	case err == nil:
		return errors.Join(errors.New("another process listens on it"), c.Close())
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("cannot determine whether another process listens on it: %w", err)
	}
	return os.Remove(file)
}
