package server

import (
	"errors"
	"io"
	"syscall"

	"github.com/evmq/evmq/internal/tlsio"
)

// writeTLS is writeOut for a connection with TLS: it encrypts output and writes the records, as much as the kernel accepts. Under mu, which is
// released meanwhile. On the loop.
func (c *loopConn) writeTLS() error {
	err := c.writeRecords()
	c.ext.tls.pipe.KeepOut()
	c.recountTLS() // not countTLS: the memory of accepted output does not close the connection
	return err
}

// writeRecords is writeTLS without the count of the memory.
func (c *loopConn) writeRecords() error {
	t := c.ext.tls
	for budget := writeBudget; budget > 0 && (c.out != nil || c.recordsWait()); {
		limit := c.writeAllowance(budget)
		if limit == 0 {
			return nil
		}
		c.mu.Unlock()
		n, all, err := t.pipe.Flush(c.loop.srv.calls, c.ev.FD(), limit)
		c.mu.Lock()
		if n > 0 {
			budget -= n
			c.deadlines.sent(c.loop.now())
			c.spend(n)
		}
		switch {
		case err != nil:
			return err
		case !all && n < limit:
			return c.waitWritable()
		case !all:
			continue
		}
		if err := c.wroteRecords(); err != nil || c.out == nil || c.handshake().isUnderWay() {
			return err
		}
		if err := c.encrypt(); err != nil || c.isFetching() {
			return err
		}
	}
	return nil
}

// wroteRecords is called when the kernel has taken all records of the pipe. It removes the output that they contained. Under mu.
func (c *loopConn) wroteRecords() error {
	t := c.ext.tls
	if t.encrypted > 0 && c.out != nil {
		n := t.encrypted
		t.encrypted = 0
		if c.ext.fetched != nil && c.out.File() != nil {
			c.wroteFetched(n)
		} else {
			c.wroteOut(n)
		}
	}
	c.freeOutput()
	return nil
}

// maxRecordsWait limits the records that wait for the kernel: those of one flush, and the answers of TLS itself, for example to key
// updates, which no other limit counts.
const maxRecordsWait = 64 << 10

// encrypt puts the records of the next output into the pipe, which has none. Under mu, which is released meanwhile.
func (c *loopConn) encrypt() error {
	l := c.loop
	t := c.ext.tls
	if l.plain == nil {
		l.plain = make([]byte, readSize)
	}
	if l.records == nil {
		l.records = make([]byte, 2*tlsio.MaxRecord+recordOverhead)
	}
	p, err := c.nextPlain()
	if err != nil || c.isFetching() {
		return err
	}
	c.mu.Unlock()
	if len(p) > 0 {
		t.pipe.LendOut(l.records)
		_, err = t.conn.Write(p)
	}
	c.mu.Lock()
	t.encrypted = len(p)
	if len(p) == 0 && err == nil { // completions only
		c.wroteOut(0)
	}
	return err
}

// nextPlain returns the next output to encrypt, at most 2*tlsio.MaxRecord bytes. It returns nil while a piece of a file is being read on another
// goroutine. Under mu, which is released meanwhile.
func (c *loopConn) nextPlain() ([]byte, error) {
	l := c.loop
	f := c.out.File()
	if f == nil {
		p := l.plain[:0]
		for _, b := range c.out.Peek(l.iov[:0], 2*tlsio.MaxRecord) {
			p = append(p, b...)
		}
		clear(l.iov[:])
		return p, nil
	}
	if c.ext.fetched != nil {
		return c.takeFetched(f, tlsio.MaxRecord)
	}
	p, offset := l.plain[:min(f.Remain, tlsio.MaxRecord)], f.Offset
	c.mu.Unlock()
	n, err := f.F.ReadAt(p, offset)
	c.mu.Lock()
	switch {
	case n > 0:
		return p[:n], nil
	case errors.Is(err, syscall.ESPIPE):
		c.fetch(f)
		return nil, nil
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	}
	return nil, err
}

// writeCloseNotify writes close_notify if the connection has TLS, after all output. It returns false while close_notify waits for room in the
// kernel; then it is called again.
func (c *loopConn) writeCloseNotify() (written bool) {
	if !c.layers.has(layerTLS) {
		return true
	}
	t := c.ext.tls
	if !t.notified && !c.handshake().isUnderWay() {
		t.notified = true
		if err := t.conn.CloseWrite(); err != nil {
			return true // the TLS state is invalid; the connection is closed anyway
		}
	}
	_, all, err := t.pipe.Flush(c.loop.srv.calls, c.ev.FD(), readSize)
	if err != nil || all {
		return true
	}
	c.mu.Lock()
	err = c.waitWritable()
	c.mu.Unlock()
	return err != nil
}
