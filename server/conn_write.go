package server

import (
	"fmt"
	"io"
	"os"

	"github.com/evmq/evmq/internal/outq"
)

// Every write appends to the connection's output under its lock, from any goroutine, and so there is one order over all of
// them, close included. A write is accepted whole or refused whole, and never waits. What is accepted ends in exactly one way: it is
// given to the kernel, or fails with the connection's reason.

// Write copies p to the connection's output. Errors: ErrFull while MaxOutput bytes or more wait, ErrServerFull, which matches ErrFull,
// while the whole server holds MaxBuffered, ErrClosed; nothing was taken then. A MarkHandler is told by LowWater when there is room
// again, after either. Any goroutine.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	q, before, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return 0, fmt.Errorf("write %d bytes: %w", len(p), err)
	}
	q.Append(p)
	c.countOutput(before)
	c.unlockAndQueue()
	return len(p), nil
}

// WriteString is Write of a string. Any goroutine.
func (c *Conn) WriteString(s string) (int, error) {
	c.mu.Lock()
	q, before, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return 0, fmt.Errorf("write %d bytes: %w", len(s), err)
	}
	q.Append(bytesOf(s))
	c.countOutput(before)
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
	q, before, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return 0, fmt.Errorf("write %d bytes: %w", n, err)
	}
	for _, p := range bufs {
		q.Append(p)
	}
	c.countOutput(before)
	c.unlockAndQueue()
	return int64(n), nil
}

// WriteNotify is Write, and done is called once on the connection's loop with what becomes of p: nil when all of it is given
// to the kernel, else why it is not. When WriteNotify itself fails, done is not called. Any goroutine.
func (c *Conn) WriteNotify(p []byte, done func(error)) error {
	c.mu.Lock()
	q, before, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("write %d bytes: %w", len(p), err)
	}
	q.Append(p)
	if done != nil {
		q.Notify(done)
	}
	c.countOutput(before)
	c.unlockAndQueue()
	return nil
}

// WriteOwned is WriteNotify without a copy: p is the connection's from the call on, must not change, and is the caller's again
// when release is called, once, on the connection's loop, with nil or why p was not given to the kernel. When WriteOwned
// itself fails, nothing was taken and release is not called. Any goroutine.
func (c *Conn) WriteOwned(p []byte, release func(error)) error {
	c.mu.Lock()
	q, before, err := c.admit()
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("write %d bytes: %w", len(p), err)
	}
	if release == nil {
		release = func(error) {}
	}
	q.AppendOwned(p, release)
	c.countOutput(before)
	c.unlockAndQueue()
	return nil
}

// SendFile appends n bytes of f from offset, which are sent by the kernel without passing through the program where that is
// possible, and copied elsewhere, as those of a pipe, which has no offset but 0. f is the connection's until done is called, once, on the
// connection's loop: with nil, or with why not all of it was given to the kernel, as io.ErrUnexpectedEOF when f is too short. A part of
// a file that was not sent closes the connection, since the peer would take what follows for it. When the connection ends while f is
// read, as a pipe that has nothing yet, the read is interrupted; if f has no read deadlines, it is waited for, and done and Close are
// called when it has ended. After a Shutdown whose context has ended, done may come after Close, and elsewhere than on the loop.
//
// The bytes of a file take no memory and count towards no limit. The file itself counts as 16 KB of output, so that a client that
// asks for many files and reads none is not read from any more, and ErrFull comes, as with other output. The files of a server may take
// up a quarter of the descriptors that the process may open, besides one for each connection; ErrFull comes above that, too.
// When SendFile itself fails, done is not called. Any goroutine.
func (c *Conn) SendFile(f *os.File, offset, n int64, done func(error)) error {
	if err := checkFile(f, offset, n); err != nil {
		return err
	}
	c.mu.Lock()
	q, before, err := c.admitFile()
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("send %d bytes of %s: %w", n, f.Name(), err)
	}
	c.appendFile(q, &outq.File{F: f, Offset: offset, Remain: n, Done: done})
	c.countOutput(before)
	c.unlockAndQueue()
	return nil
}

func checkFile(f *os.File, offset, n int64) error {
	if f == nil || offset < 0 || n < 0 {
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
func (c *Conn) admitFile() (q *outq.Queue, before int, err error) {
	s := c.loop.srv
	if files := s.files.Load(); files >= s.cfg.maxFiles && c.files() > 0 && c.state == connOpen {
		s.totals.full.Add(1)
		c.sched |= schedRefused
		return nil, 0, fmt.Errorf("%w: %d files wait, the limit is %d", ErrFull, files, s.cfg.maxFiles)
	}
	return c.admit()
}

// files is how many files wait. Under mu.
func (c *Conn) files() int {
	n := 0
	if c.out != nil {
		n = c.out.Files()
	}
	if c.ext != nil && c.ext.deferred != nil {
		n += c.ext.deferred.Files()
	}
	if c.ext != nil && c.ext.behind != nil {
		n += c.ext.behind.Files()
	}
	return n
}

// admit accepts a write, or says why not. It returns where the write goes, and what countOutput is to be given behind it. Under mu.
func (c *Conn) admit() (q *outq.Queue, before int, err error) {
	s := c.loop.srv
	switch {
	case c.state != connOpen:
		return nil, 0, c.refusal()
	case c.held() >= s.cfg.MaxOutput:
		s.totals.full.Add(1)
		c.sched |= schedRefused
		return nil, 0, fmt.Errorf("%w: %d bytes wait, the limit is %d", ErrFull, c.held(), s.cfg.MaxOutput)
	case s.isFull():
		s.totals.full.Add(1)
		c.awaitServerRoom()
		return nil, 0, fmt.Errorf("%w: it holds %d bytes", ErrServerFull, s.buffered.Load())
	}
	before = c.outputMemory()
	if c.ext != nil && c.ext.upgrade != nil { // this is to be encrypted
		if c.ext.behind == nil {
			c.ext.behind = outq.Get()
		}
		return c.ext.behind, before, nil
	}
	if c.ext != nil && c.ext.exclusive { // a reply is being sent in pieces; this comes behind it
		if c.ext.deferred == nil {
			c.ext.deferred = outq.Get()
		}
		return c.ext.deferred, before, nil
	}
	return c.output(), before, nil
}

// output is the queue that goes to the kernel. Under mu.
func (c *Conn) output() *outq.Queue {
	if c.out == nil {
		c.out = outq.Get()
	}
	return c.out
}

var _ io.StringWriter = (*Conn)(nil)
