package httpd

import (
	"errors"
	"io"
	"net/http"
	"os"
	"syscall"
)

// smallFile is the length up to which a file is read and written, which costs less than sendfile.
const smallFile = 16 << 10

// ReadFrom implements io.ReaderFrom. A large file is sent by sendfile, without a copy in the program, and no goroutine waits for that.
func (r *response) ReadFrom(src io.Reader) (int64, error) {
	if n, ok, err := r.sendFile(src); ok {
		return n, err
	}
	return io.Copy(onlyWriter{r}, src)
}

// onlyWriter hides ReadFrom from io.Copy.
type onlyWriter struct{ io.Writer }

// sendFile sends the rest of src, if it is a regular file, or a part of one, and is not small. ok is false if the caller has to copy src
// instead; the head may have been sent.
func (r *response) sendFile(src io.Reader) (n int64, ok bool, err error) {
	limit := int64(-1)
	limited, isLimited := src.(*io.LimitedReader)
	if isLimited {
		src, limit = limited.R, limited.N
	}
	f, isFile := src.(*os.File)
	if !isFile {
		return 0, false, nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false, nil //nolint:nilerr // the copy reports it
	}
	offset, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, false, nil //nolint:nilerr // as above
	}
	n = info.Size() - offset
	if limit >= 0 {
		n = min(n, limit)
	}
	if n <= smallFile {
		return 0, false, nil
	}
	if err := r.prepareFile(f, offset, n); err != nil {
		return 0, !errors.Is(err, errNoFile), err
	}
	own, err := dup(f)
	if err != nil {
		return 0, false, nil //nolint:nilerr // the copy needs no descriptor
	}
	r.written += n
	if err := r.w.SendFile(own, offset, n, func(error) { _ = own.Close() }); err != nil { // it was only read
		_ = own.Close() // as above
		r.err = r.c.writeError(err)
		return 0, true, r.err
	}
	if isLimited {
		limited.N -= n
	}
	_, err = f.Seek(offset+n, io.SeekStart)
	return n, true, err
}

var errNoFile = errors.New("httpd: the body is not sent as a file")

// prepareFile sends the head before n bytes of f at the offset. It returns errNoFile if the body cannot be sent by SendFile.
func (r *response) prepareFile(f *os.File, offset, n int64) error {
	if r.phase == phaseBegun {
		r.WriteHeader(http.StatusOK)
	}
	if r.isHEAD || !allowsBody(r.status) || r.err != nil {
		return errNoFile
	}
	if r.length >= 0 && r.written+n > r.length { // Write reports it
		return errNoFile
	}
	if r.phase == phaseStatus {
		var first [sniffed]byte
		k, err := f.ReadAt(first[:], offset)
		if err != nil && err != io.EOF {
			return errNoFile
		}
		r.sendHead(first[:k])
	}
	if r.phase != phaseSent || r.chunked {
		return errNoFile
	}
	return r.err
}

// dup returns another os.File for the same file, which the server closes.
func dup(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var dupErr error
	err = raw.Control(func(old uintptr) {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		if fd, dupErr = syscall.Dup(int(old)); dupErr == nil {
			syscall.CloseOnExec(fd)
		}
	})
	if err = errors.Join(err, dupErr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
