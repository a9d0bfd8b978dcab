package sock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// A File is the file of a bound unix socket, as it was after the bind. The zero File means that there is none, as for a TCP socket.
type File struct {
	path string
	info os.FileInfo
}

// FileOf returns the file of a unix socket that was just bound to addr, or the zero File if it has none or the file is not found.
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

// InPlace reports whether the path still refers to this file, and not to the file of another socket, such as a successor that has removed
// the path and bound its own socket. The system does not reuse the number of a file while a socket that is bound to it is open, so
// InPlace and Remove must be called before the socket is closed.
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
