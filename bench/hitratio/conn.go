//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// conn is a client's connection with the text protocol.
type conn struct {
	c       net.Conn
	r       *bufio.Reader
	w       *bufio.Writer
	missing []uint64
	line    []byte
	err     error // of the first write that failed
	unhook  func() bool
}

// dial connects. The end of ctx closes the connection.
func dial(ctx context.Context, addr string) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	conn := &conn{c: c, r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriterSize(c, 64<<10)}
	conn.unhook = context.AfterFunc(ctx, conn.abort)
	return conn, nil
}

// abort makes pending reads and writes fail.
func (c *conn) abort() {
	if err := c.c.SetDeadline(time.Unix(1, 0)); err != nil && !errors.Is(err, net.ErrClosed) {
		panic(err) // TCP connections have deadlines
	}
}

func (c *conn) close() error {
	c.unhook()
	return c.c.Close()
}

func (c *conn) write(p []byte) {
	if _, err := c.w.Write(p); c.err == nil {
		c.err = err
	}
}

// flush sends the buffered requests, and returns the first error of a write.
func (c *conn) flush() error {
	if err := c.w.Flush(); c.err == nil {
		c.err = err
	}
	return c.err
}

// stamp is the beginning of a value, if it is long enough: the number of its key and its length, so that a wrong answer is detected.
const stamp = 16

var lineEnd = []byte("\r\n")

func putStamp(b []byte, key uint64, size int) {
	binary.LittleEndian.PutUint64(b, key)
	binary.LittleEndian.PutUint64(b[8:], uint64(size))
}

// gets requests the keys in one batch and returns those that were missing. The slice is valid until the next call.
func (c *conn) gets(keys []uint64, t *tally) ([]uint64, error) {
	for _, key := range keys {
		c.line = append(c.appendKey(append(c.line[:0], "get "...), key), "\r\n"...)
		c.write(c.line)
	}
	begun := time.Now()
	if err := c.flush(); err != nil {
		return nil, err
	}
	c.missing = c.missing[:0]
	for _, key := range keys {
		n, err := c.readValue(key)
		if err != nil {
			return nil, fmt.Errorf("get %d: %w", key, err)
		}
		t.latency.add(time.Since(begun))
		t.gets++
		if n >= 0 {
			t.hits++
			t.hitBytes += int64(n)
			t.bytes += int64(n)
			continue
		}
		c.missing = append(c.missing, key)
	}
	return c.missing, nil
}

func (c *conn) appendKey(b []byte, key uint64) []byte {
	const width = 10
	var digits [20]byte
	d := strconv.AppendUint(digits[:0], key, 10)
	for range width - len(d) {
		b = append(b, '0')
	}
	return append(b, d...)
}

// readValue reads the answer to a get and returns the length of the value, or -1 after a miss.
func (c *conn) readValue(key uint64) (int, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if string(line) == "END\r\n" {
		return -1, nil
	}
	fields := bytes.Fields(line)
	if len(fields) != 4 || string(fields[0]) != "VALUE" {
		return 0, fmt.Errorf("the server answers %q", line)
	}
	n, err := strconv.Atoi(string(fields[3]))
	if err != nil {
		return 0, fmt.Errorf("the server answers %q", line)
	}
	if n >= stamp {
		var want [stamp]byte
		putStamp(want[:], key, n)
		got, err := c.r.Peek(stamp)
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(got, want[:]) {
			return 0, errors.New("the value belongs to another key")
		}
	}
	if _, err := c.r.Discard(n); err != nil {
		return 0, err
	}
	var end [7]byte
	if _, err := io.ReadFull(c.r, end[:]); err != nil {
		return 0, err
	}
	if string(end[:]) != "\r\nEND\r\n" {
		return 0, fmt.Errorf("a value of %d bytes ends with %q", n, end)
	}
	return n, nil
}

// sets stores values for the keys in one batch.
func (c *conn) sets(keys []uint64, t *tally, p *progress) error {
	for _, key := range keys {
		n := p.size(key)
		t.bytes += int64(n)
		c.line = append(c.appendKey(append(c.line[:0], "set "...), key), " 0 0 "...)
		c.line = append(strconv.AppendInt(c.line, int64(n), 10), "\r\n"...)
		c.write(c.line)
		rest := p.block[:n]
		if n >= stamp {
			var head [stamp]byte
			putStamp(head[:], key, n)
			c.write(head[:])
			rest = rest[stamp:]
		}
		c.write(rest)
		c.write(lineEnd)
	}
	if err := c.flush(); err != nil {
		return err
	}
	for _, key := range keys {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case string(line) == "STORED\r\n":
			t.sets++
		case bytes.HasPrefix(line, []byte("SERVER_ERROR")):
			t.refused++
		default:
			return fmt.Errorf("set %d: the server answers %q", key, line)
		}
	}
	return nil
}
