package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/evmq/evmq/internal/outq"
)

// The kernel sends regular files. It does not send pipes, or files that are not in the page cache, such as those of /proc. A goroutine
// reads these in pieces, since a read of a pipe may block.

// fetched is a piece of a file that a goroutine reads. Under the connection's mu.
type fetched struct {
	file        *outq.File
	busy        bool   // the goroutine reads
	buf         []byte // bytes that were read and not given to the kernel
	err         error
	stream      bool        // the file has no offsets
	interrupted bool        // stopFetching has set a read deadline, to interrupt the goroutine
	completion  func(error) // the file's completion, if the output has failed before the read has ended
}

// fetchSize is the size of a piece. A file counts as that much output.
const fetchSize = outq.FileCost

// sendFile sends a piece of f, which is at the head of the output. Under mu, released meanwhile.
func (c *loopConn) sendFile(f *outq.File, limit int) (n int, full bool, err error) {
	if c.ext != nil && c.ext.fetched != nil {
		return c.sendFetched(f, limit)
	}
	want := int(min(f.Remain, int64(limit)))
	offset := f.Offset
	c.mu.Unlock()
	if want > 0 {
		n, err = c.callSendFile(f, &offset, want)
	}
	c.mu.Lock()
	switch {
	case err != nil && wouldBlock(err):
		return 0, true, nil
	case errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ESPIPE) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS):
		c.fetch(f)
		return 0, true, nil
	case err != nil:
		return 0, false, fmt.Errorf("send %s: %w", f.F.Name(), err)
	case n == 0 && want > 0:
		return 0, false, endsEarly(f)
	}
	c.wroteOut(n)
	if c.ext != nil {
		c.spend(n)
	}
	return n, false, nil
}

// callSendFile makes the system call, which keeps f from being closed meanwhile.
func (c *loopConn) callSendFile(f *outq.File, offset *int64, want int) (n int, err error) {
	raw, err := f.F.SyscallConn()
	if err != nil {
		return 0, err
	}
	if e := raw.Control(func(fd uintptr) { n, err = c.loop.srv.calls.SendFile(c.ev.FD(), int(fd), offset, want) }); e != nil {
		return 0, fmt.Errorf("%w: %w", os.ErrClosed, e) // the user has closed it; package os returns an error of its own
	}
	return n, err
}

// sendFetched is sendFile for a file that a goroutine reads. Under mu, released meanwhile.
func (c *loopConn) sendFetched(f *outq.File, limit int) (n int, full bool, err error) {
	p, err := c.takeFetched(f, limit)
	if err != nil || p == nil {
		return 0, true, err
	}
	c.mu.Unlock()
	n, err = c.loop.srv.calls.Write(c.ev.FD(), p)
	c.mu.Lock()
	if err != nil {
		if wouldBlock(err) {
			return 0, true, nil
		}
		return 0, false, err
	}
	c.wroteFetched(n)
	c.spend(n)
	return n, n < len(p), nil
}

// takeFetched returns bytes that were read from f, at most limit. If there are none yet it returns nil, and readFile queues the connection
// when there are. Under mu, on the loop.
func (c *loopConn) takeFetched(f *outq.File, limit int) ([]byte, error) {
	x := c.ext.fetched
	switch {
	case x.busy:
		return nil, nil
	case len(x.buf) > 0:
		return x.buf[:min(limit, len(x.buf))], nil
	case x.err == nil:
		c.fetch(f)
		return nil, nil
	case errors.Is(x.err, io.EOF):
		return nil, endsEarly(f)
	}
	return nil, x.err // it names the file
}

// endsEarly returns the error of a file that is shorter than the argument of SendFile says.
func endsEarly(f *outq.File) error {
	return fmt.Errorf("send %s: %w: the file ends %d bytes early", f.F.Name(), io.ErrUnexpectedEOF, f.Remain)
}

// wroteFetched counts n of the bytes that takeFetched has returned as given to the kernel. Under mu.
func (c *loopConn) wroteFetched(n int) {
	x := c.ext.fetched
	x.buf = x.buf[n:]
	if x.file.Remain == int64(n) {
		c.ext.fetched = nil // the next file may be one that the kernel sends
	}
	c.wroteOut(n)
}

// fetch starts a goroutine that reads the next piece of f. Under mu, on the loop.
func (c *loopConn) fetch(f *outq.File) {
	x := c.extra().fetched
	if x == nil {
		x = &fetched{file: f}
		c.ext.fetched = x
	}
	x.busy = true
	want, offset := min(f.Remain, fetchSize), f.Offset
	c.loop.srv.goroutines.Go(func() { c.readFile(x, make([]byte, want), offset) })
}

// readFile reads a piece of x.file into p, and queues the connection. A read of a pipe may wait; the end of the connection interrupts it.
func (c *loopConn) readFile(x *fetched, p []byte, offset int64) {
	label(fileLabels)
	f := x.file.F
	c.mu.Lock()
	stream := x.stream
	c.mu.Unlock()
	n, err := 0, error(syscall.ESPIPE)
	if !stream {
		n, err = f.ReadAt(p, offset)
	}
	if errors.Is(err, syscall.ESPIPE) {
		if !stream && offset != 0 {
			err = fmt.Errorf("%w: %s has no offset %d: %w", ErrUnsupported, f.Name(), offset, err)
		} else {
			stream = true
			n, err = f.Read(p)
		}
	}
	c.mu.Lock()
	x.busy, x.buf, x.err, x.stream = false, p[:n], err, stream
	interrupted, completion := x.interrupted, x.completion
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	if interrupted { // also when the read had ended before
		_ = f.SetReadDeadline(time.Time{}) // the user may have closed it
	}
	c.enqueue(queue)
	if completion != nil && !c.loop.do(c.releaseFile) { // the loop has ended
		c.guard(func() { completion(c.failure()) })
	}
}

// releaseFile calls the completion of the file that was being read when the connection ended. On the loop.
func (c *loopConn) releaseFile() {
	l := c.loop
	l.setCurrent(c)
	c.mu.Lock()
	l.dones = append(l.dones, c.ext.fetched.completion)
	c.ext.fetched = nil
	c.mu.Unlock()
	l.report(c, c.failure())
	if c.life.isGone() { // otherwise it is broken, but still open
		c.notifyWhenIdle()
	}
	l.clearCurrent()
}

// failure returns the error of output that was not written because the connection has ended or is broken.
func (c *loopConn) failure() error {
	c.mu.Lock()
	why := c.reasonLocked()
	c.mu.Unlock()
	if why == nil || errors.Is(why, io.EOF) {
		why = ErrClosed
	}
	return fmt.Errorf("%w before the output was written (%w)", ErrClosed, why)
}

// holdsCompletion reports whether the completion of a file waits for the end of a read of the file.
func (c *loopConn) holdsCompletion() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ext != nil && c.ext.fetched != nil && c.ext.fetched.completion != nil
}

// isFetching reports whether the output waits for a piece of a file. Under mu.
func (c *loopConn) isFetching() bool {
	return c.ext != nil && c.ext.fetched != nil && c.ext.fetched.busy
}

// stopFetching interrupts the goroutine that reads a file, where the file's reads can be interrupted, and keeps the file's completion until
// the read has ended, since the file is in use until then. It is called before the output fails. Under mu.
func (c *loopConn) stopFetching() {
	if x := c.ext.fetched; x != nil && x.busy && x.completion == nil {
		x.completion, x.file.Done = x.file.Done, nil
		x.interrupted = x.file.F.SetReadDeadline(time.Unix(1, 0)) == nil // a file without deadlines is usually one whose reads do not wait
	}
}
