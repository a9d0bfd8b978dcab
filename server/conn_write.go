package server

import (
	"fmt"
	"io"
	"math"
	"os"

	"github.com/evmq/evmq/internal/outq"
)

// Every write appends to the connection's output under its lock, from any goroutine, so there is one order of all writes and closes. A
// write is accepted or refused as a whole, and never waits. An accepted write has exactly one outcome: it is given to the kernel, or fails
// with the connection's reason.

// Write copies p to the connection's output. Errors: ErrFull while MaxOutput bytes or more wait; ErrServerFull, which matches ErrFull,
// while the whole server holds MaxBuffered bytes or more; ErrClosed. After an error nothing was accepted. After ErrFull and ErrServerFull,
// LowWater of a MarkHandler is called when there is room again. Any goroutine.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if len(p) > directWrite {
		if err := c.writeLarge(p); err != nil {
			return 0, fmt.Errorf("write %d bytes: %w", len(p), err)
		}
		return len(p), nil
	}
	q, counted, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return 0, fmt.Errorf("write %d bytes: %w", len(p), err)
	}
	q.Append(p)
	c.countOutput(counted)
	c.unlockAndQueue()
	return len(p), nil
}

// WriteString is Write of a string. Any goroutine.
func (c *Conn) WriteString(s string) (int, error) {
	c.mu.Lock()
	if len(s) > directWrite {
		if err := c.writeLarge(bytesOf(s)); err != nil {
			return 0, fmt.Errorf("write %d bytes: %w", len(s), err)
		}
		return len(s), nil
	}
	q, counted, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return 0, fmt.Errorf("write %d bytes: %w", len(s), err)
	}
	q.Append(bytesOf(s))
	c.countOutput(counted)
	c.unlockAndQueue()
	return len(s), nil
}

// Writev copies all of bufs, together and in order, as one Write. Any goroutine.
func (c *Conn) Writev(bufs [][]byte) (int64, error) {
	n := 0
	for _, p := range bufs {
		n += len(p)
	}
	c.mu.Lock()
	q, counted, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return 0, fmt.Errorf("write %d bytes: %w", n, err)
	}
	for _, p := range bufs {
		q.Append(p)
	}
	c.countOutput(counted)
	c.unlockAndQueue()
	return int64(n), nil
}

// WriteNotify is Write, and done, if not nil, is called once, on the connection's loop: with nil when all of p was given to the kernel, or
// with the reason why it was not. When WriteNotify itself fails, done is not called. Any goroutine.
func (c *Conn) WriteNotify(p []byte, done func(error)) error {
	c.mu.Lock()
	q, counted, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("write %d bytes: %w", len(p), err)
	}
	q.Append(p)
	if done != nil {
		q.Notify(done)
	}
	c.countOutput(counted)
	c.unlockAndQueue()
	return nil
}

// WriteOwned is WriteNotify without a copy: p belongs to the connection and must not change until release is called, once, on the
// connection's loop, with nil or the reason why p was not given to the kernel. release may be nil; then p belongs to the connection for
// good. When WriteOwned itself fails, nothing was accepted and release is not called. Any goroutine.
func (c *Conn) WriteOwned(p []byte, release func(error)) error {
	c.mu.Lock()
	q, counted, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("write %d bytes: %w", len(p), err)
	}
	if release == nil {
		release = func(error) {}
	}
	q.AppendOwned(p, release)
	c.countOutput(counted)
	c.unlockAndQueue()
	return nil
}

// SendFile appends n bytes of f from offset to the connection's output. Where the system can, the kernel sends them without copying them
// into the program. Otherwise they are read and written, for example from a pipe, for which offset must be 0. f belongs to the connection
// until done, if not nil, is called, once, on the connection's loop: with nil, or with the reason why not all bytes were given to the
// kernel, such as io.ErrUnexpectedEOF when f is too short. If a part of a file cannot be sent, the connection is closed, since the peer
// would take later output for the rest of the file. When the connection ends while a read of f waits, for example for a pipe, the read is
// interrupted; if f does not support read deadlines, done and Close are called when the read has ended. After a Shutdown whose context has
// ended, done may be called after Close, and on another goroutine than the loop's.
//
// The bytes of a file take no memory and count towards no limit. The file itself counts as 16 KB of output, so that the output for a client
// that requests many files and reads none reaches HighWater and then MaxOutput. The files that wait in a server may use a quarter of the
// descriptors that the process may open, besides one for each connection; above that, SendFile returns ErrFull, too. When SendFile itself
// fails, done is not called. Any goroutine.
func (c *Conn) SendFile(f *os.File, offset, n int64, done func(error)) error {
	if err := checkFile(f, offset, n); err != nil {
		return err
	}
	c.mu.Lock()
	q, counted, err := c.admitFile()
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("send %d bytes of %s: %w", n, f.Name(), err)
	}
	c.appendFile(q, &outq.File{F: f, Offset: offset, Remain: n, Done: done})
	c.countOutput(counted)
	c.unlockAndQueue()
	return nil
}

// checkFile checks the arguments of SendFile.
func checkFile(f *os.File, offset, n int64) error {
	if f == nil {
		return fmt.Errorf("send file: %w: file is nil", ErrInvalid)
	}
	if offset < 0 || n < 0 || offset > math.MaxInt64-n {
		return fmt.Errorf("send file: %w: offset %d, length %d", ErrInvalid, offset, n)
	}
	return nil
}

// appendFile appends f to q, and counts it until it is done. Under mu.
func (c *Conn) appendFile(q *outq.Queue, f *outq.File) {
	s, done := c.loop.srv, f.Done
	f.Done = func(err error) {
		s.files.Add(-1)
		if done != nil {
			done(err)
		}
	}
	s.files.Add(1)
	q.AppendFile(f)
}

// admitFile is admit for a file. Under mu.
func (c *Conn) admitFile() (q *outq.Queue, counted int, err error) {
	s := c.loop.srv
	if files := s.files.Load(); files >= s.cfg.maxFiles && c.files() > 0 && c.state == connOpen {
		s.totals.full.Add(1)
		c.sched |= schedRefused
		return nil, 0, fmt.Errorf("%w: %d files wait, the limit is %d", ErrFull, files, s.cfg.maxFiles)
	}
	return c.admit()
}

// files returns the number of the connection's files that wait. Under mu.
func (c *Conn) files() int {
	n := 0
	if c.out != nil {
		n = c.out.Files()
	}
	if c.ext != nil && c.ext.deferred != nil {
		n += c.ext.deferred.Files()
	}
	if c.ext != nil && c.ext.afterTLS != nil {
		n += c.ext.afterTLS.Files()
	}
	return n
}

// admit accepts or refuses a write. For an accepted one it returns the queue that the write is appended to, and the argument for the call
// of countOutput that follows. Under mu.
func (c *Conn) admit() (q *outq.Queue, counted int, err error) {
	s := c.loop.srv
	switch {
	case c.state != connOpen:
		return nil, 0, c.refusal()
	case c.outputBytes() >= s.cfg.MaxOutput:
		s.totals.full.Add(1)
		c.sched |= schedRefused
		return nil, 0, fmt.Errorf("%w: %d bytes wait, the limit is %d", ErrFull, c.outputBytes(), s.cfg.MaxOutput)
	case s.isFull():
		s.totals.full.Add(1)
		c.loop.srv.awaitRoom(c)
		return nil, 0, fmt.Errorf("%w: it holds %d bytes", ErrServerFull, s.buffered.Load())
	}
	counted = c.countedOutput()
	if c.ext != nil && c.ext.upgrade != nil { // the write will be encrypted
		if c.ext.afterTLS == nil {
			c.ext.afterTLS = outq.Get()
		}
		return c.ext.afterTLS, counted, nil
	}
	if c.ext != nil && c.ext.exclusive { // a reply is being sent in pieces; the write follows it
		if c.ext.deferred == nil {
			c.ext.deferred = outq.Get()
		}
		return c.ext.deferred, counted, nil
	}
	return c.output(), counted, nil
}

var _ io.StringWriter = (*Conn)(nil)

// directWrite is the number of bytes above which a write of a handler on the loop goes to the kernel at once, if no output waits: copying
// them costs more than the system call that is saved when other writes follow.
const directWrite = 16 << 10

// writeNow gives p to the kernel, if no output waits and nothing else is to be done with it before, and returns the number of bytes that the
// kernel has accepted. The caller adds the rest to the output. If the write fails, the number is 0, and the flush at the end of the loop's
// work returns the error. Under mu, which is held during the system call, during the loop's work on the connection.
func (c *loopConn) writeNow(p []byte) int {
	l := c.loop
	if c.out != nil || c.ext != nil || c.state != connOpen || c.sched&schedRunning == 0 || l.running.err != nil || l.srv.isFull() {
		return 0
	}
	return c.writeUnderLock(p)
}

// writeUnderLock gives p, which is not in the output, or is its head, to the kernel. It returns the number of bytes that the kernel has
// accepted. If the write fails, the number is 0, and the flush at the end of the loop's work returns the error. Under mu, which is held during
// the system call, during the loop's work on the connection.
func (c *loopConn) writeUnderLock(p []byte) int {
	l := c.loop
	n, err := l.srv.calls.Write(c.ev.FD(), p)
	if err != nil {
		if !wouldBlock(err) {
			l.running.err = err
		}
		return 0
	}
	l.running.wrote = true
	c.countWritten(n)
	return n
}

// writeLarge is Write of more than directWrite bytes. Under mu, which it unlocks.
func (c *Conn) writeLarge(p []byte) error {
	n := c.loopPart().writeNow(p)
	q, counted := c.out, 0
	if n == 0 { // nothing was accepted yet, so the write may be refused
		var err error
		if q, counted, err = c.admit(); err != nil {
			c.mu.Unlock()
			return err
		}
	} else if n < len(p) {
		counted = c.countedOutput()
		q = c.output()
	}
	if n < len(p) {
		q.Append(p[n:])
		c.countOutput(counted)
	}
	c.unlockAndQueue()
	return nil
}

// writeNow gives the gathered bytes to the kernel, without their becoming output, as far as it accepts them. It begins the loop's work on the
// connection, which the leader continues with writeAnswer, and returns false if it does nothing. Under mu and c.mu, on the leader.
func (r *replyState) writeNow() bool {
	c := r.c.loopPart()
	if len(r.buf) == 0 || c.out != nil || c.ext != nil || c.state != connOpen || c.sched&(schedRunning|schedQueued) != 0 {
		return false
	}
	c.startRunning()
	n := c.writeNow(r.buf)
	r.buf = r.buf[:copy(r.buf, r.buf[n:])]
	return true
}
