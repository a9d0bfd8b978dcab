//go:build darwin || freebsd

package poller

import (
	"errors"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watch is one registration. It has a read filter always, since that is where kqueue tells of a peer that closed; where
// Read is not wanted the filter is quiet: it asks for more bytes than there can be, and is edge-triggered, because the
// kernels cap the number at a full buffer (darwin) or ignore it for pipes (freebsd) and would then report for ever.
type watch struct {
	tag    uint64
	want   Flags
	used   bool
	socket bool   // else a pipe or a terminal, where the end of one direction is the end of all
	loud   bool   // a quiet filter that found something to report, which a level-triggered watch has to repeat
	mark   uint16 // tells a report of this registration from one of the descriptor's previous one
	round  uint64 // the Wait that reported it last
	slot   int    // and where
}

// marks gives udata, which is a pointer here, something to point at. The numbers are the offsets; nobody reads the bytes.
var marks [1 << 16]byte

func markOf(udata *byte) uint16 {
	return uint16(uintptr(unsafe.Pointer(udata)) - uintptr(unsafe.Pointer(&marks[0])))
}

func (w *watch) quiet() bool { return w.want&Read == 0 }

// kindOf says whether fd is a socket, and refuses what the other backends cannot watch or report otherwise: kqueue takes
// a regular file, but does not call it readable at its end.
func kindOf(fd int) (socket bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
		return false, os.NewSyscallError("kevent add", unix.EPERM)
	case unix.S_IFSOCK:
		return true, nil
	}
	return false, nil
}

// arm creates the filters of w.
func (p *kqueue) arm(fd int, w *watch) error {
	flags := unix.EV_ADD
	if w.want&Edge != 0 {
		flags |= unix.EV_CLEAR
	}
	if err := p.armRead(fd, w, flags); err != nil {
		return err
	}
	if w.want&Write == 0 {
		return nil
	}
	err := p.change(fd, unix.EVFILT_WRITE, flags, w)
	if err != nil {
		_ = p.change(fd, unix.EVFILT_READ, unix.EV_DELETE, w) // the first error is the one to tell
	}
	return err
}

// armRead creates the read filter. A file that has none can still be written to, so a quiet one is not insisted on.
func (p *kqueue) armRead(fd int, w *watch, flags int) error {
	if w.quiet() && !w.loud {
		flags |= unix.EV_CLEAR
	}
	err := p.change(fd, unix.EVFILT_READ, flags, w)
	if err != nil && w.quiet() && checkOpen(fd) == nil {
		return nil
	}
	return err
}

// disarm deletes the filters of w. The kernel has dropped them by itself where the descriptor was closed meanwhile.
func (p *kqueue) disarm(fd int, w *watch) (err error) {
	for _, filter := range [...]int{unix.EVFILT_READ, unix.EVFILT_WRITE} {
		if filter == unix.EVFILT_WRITE && w.want&Write == 0 {
			continue
		}
		if e := p.change(fd, filter, unix.EV_DELETE, w); e != nil && !errors.Is(e, unix.ENOENT) && err == nil {
			err = e
		}
	}
	return err
}

// change tells the kernel one change; an interrupted call has made it.
func (p *kqueue) change(fd, filter, flags int, w *watch) error {
	var k [1]unix.Kevent_t
	unix.SetKevent(&k[0], fd, filter, flags)
	k[0].Udata = &marks[w.mark]
	if filter == unix.EVFILT_READ && w.quiet() {
		k[0].Fflags, k[0].Data = unix.NOTE_LOWAT, math.MaxInt32
	}
	if _, err := unix.Kevent(p.fd, k[:], nil, nil); err != nil && err != unix.EINTR {
		return os.NewSyscallError("kevent", err)
	}
	return nil
}

// what translates a report. A socket's end of one direction is told to those who asked; an error and the end of a pipe
// are told to all, as the other backends do.
func (w *watch) what(ev *unix.Kevent_t) (what Flags) {
	write := ev.Filter == unix.EVFILT_WRITE
	end := ev.Flags&unix.EV_EOF != 0
	switch {
	case write:
		what = Write
	case end:
		what = w.want & (Read | Closed)
	default:
		what = w.want & Read
	}
	if !end {
		return what
	}
	switch {
	case ev.Fflags != 0, write && !w.socket: // fflags is the socket's pending error
		what |= Read | Write | Closed | Error
	case !w.socket:
		what |= Read | Write | Closed
	}
	return what
}

// settle makes a quiet filter that found something level-triggered, so that it repeats it, and a repeating one that has
// nothing more to say (a named pipe was opened again) quiet.
func (p *kqueue) settle(fd int, w *watch, ev *unix.Kevent_t, what Flags) error {
	found := what != 0
	if ev.Filter != unix.EVFILT_READ || !w.quiet() || w.want&Edge != 0 || found == w.loud {
		return nil
	}
	w.loud = found
	if err := p.change(fd, unix.EVFILT_READ, unix.EV_DELETE, w); err != nil {
		return ignoreGone(err)
	}
	return ignoreGone(p.armRead(fd, w, unix.EV_ADD))
}

// ignoreGone passes over a descriptor that was closed while its report travelled: there is nothing left to report.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EBADF) {
		return nil
	}
	return err
}
