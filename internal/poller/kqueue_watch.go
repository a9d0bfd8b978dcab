//go:build darwin || freebsd

package poller

import (
	"errors"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watch is one registration. It always has a read filter, since kqueue reports a peer's close there. If
// Read is not registered, the filter waits for more bytes than there can be, and is edge-triggered, because the
// kernels limit the number to a full buffer (darwin) or ignore it for pipes (freebsd) and would then report repeatedly.
type watch struct {
	tag       uint64
	want      Flags
	used      bool
	socket    bool   // else a pipe or a terminal, where the end of one direction is the end of all
	reporting bool   // the read filter has reported a condition though Read is not registered; a level-triggered watch repeats it
	mark      uint16 // distinguishes reports of this registration from those of an earlier one of the descriptor
	round     uint64 // the latest Wait that reported it
	slot      int    // its index in that report
}

// marks provides the addresses for udata, which is a pointer here. A mark is an offset; the bytes are not used.
var marks [1 << 16]byte

func markOf(udata *byte) uint16 {
	return uint16(uintptr(unsafe.Pointer(udata)) - uintptr(unsafe.Pointer(&marks[0])))
}

// readUnwanted reports whether Read is not registered.
func (w *watch) readUnwanted() bool { return w.want&Read == 0 }

// kindOf reports whether fd is a socket. It refuses files that the other backends refuse or report differently: kqueue accepts
// a regular file, but does not report it as readable at its end.
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
		_ = p.change(fd, unix.EVFILT_READ, unix.EV_DELETE, w) // the first error is returned
	}
	return err
}

// armRead creates the read filter. If Read is not registered, an error is ignored: a file that supports no read filter can still be
// written to.
func (p *kqueue) armRead(fd int, w *watch, flags int) error {
	if w.readUnwanted() && !w.reporting {
		flags |= unix.EV_CLEAR
	}
	err := p.change(fd, unix.EVFILT_READ, flags, w)
	if err != nil && w.readUnwanted() && checkOpen(fd) == nil {
		return nil
	}
	return err
}

// disarm deletes the filters of w. The kernel has deleted them if the descriptor was closed meanwhile.
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

// change makes one change in the kernel. An interrupted call has made it, too.
func (p *kqueue) change(fd, filter, flags int, w *watch) error {
	var k [1]unix.Kevent_t
	unix.SetKevent(&k[0], fd, filter, flags)
	k[0].Udata = &marks[w.mark]
	if filter == unix.EVFILT_READ && w.readUnwanted() {
		k[0].Fflags, k[0].Data = unix.NOTE_LOWAT, math.MaxInt32
	}
	if _, err := unix.Kevent(p.fd, k[:], nil, nil); err != nil && err != unix.EINTR {
		return os.NewSyscallError("kevent", err)
	}
	return nil
}

// what translates a report. If one direction of a socket has ended, only registered conditions are reported; an error and the end of a
// pipe are reported as all conditions, as by the other backends.
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

// rearm makes a read filter without Read level-triggered if it has reported a condition, so that it repeats it, and edge-triggered
// again if the condition no longer holds (a named pipe was opened again).
func (p *kqueue) rearm(fd int, w *watch, ev *unix.Kevent_t, what Flags) error {
	found := what != 0
	if ev.Filter != unix.EVFILT_READ || !w.readUnwanted() || w.want&Edge != 0 || found == w.reporting {
		return nil
	}
	w.reporting = found
	if err := p.change(fd, unix.EVFILT_READ, unix.EV_DELETE, w); err != nil {
		return ignoreGone(err)
	}
	return ignoreGone(p.armRead(fd, w, unix.EV_ADD))
}

// ignoreGone ignores the error of a descriptor that was closed after its report: there is nothing left to report.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EBADF) {
		return nil
	}
	return err
}
