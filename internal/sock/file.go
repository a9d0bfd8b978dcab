package sock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// A File is the file of a unix socket that is bound, as it was found when the socket was. The zero File is none, as of a TCP socket.
type File struct {
	path string
	info os.FileInfo
}

// FileOf returns the file of a unix socket that was just bound to addr; the zero File if it has none. Where it cannot be found,
// nothing will be removed.
func FileOf(addr net.Addr) File {
	name := socketFile(addr)
	if name == "" {
		return File{}
	}
	path, err := filepath.Abs(name) // the program may change its directory
	if err != nil {
		path = name
	}
	info, err := os.Lstat(path)
	if err != nil {
		return File{}
	}
	return File{path, info}
}

// InPlace reports whether the path still leads to this file, and not to that of another socket, as of a successor that has removed
// the path and bound its own. The system gives a file's number to no other while a socket that is bound to it is open, so that
// InPlace and Remove come before the socket's close.
func (f File) InPlace() bool {
	if f.path == "" {
		return false
	}
	info, err := os.Lstat(f.path)
	return err == nil && os.SameFile(info, f.info)
}

// Remove removes the file if it is in place.
func (f File) Remove() error {
	if !f.InPlace() {
		return nil
	}
	if err := os.Remove(f.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("sock: remove the file of a socket: %w", err)
	}
	return nil
}
