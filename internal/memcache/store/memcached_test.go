package store_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// memcached is a connection to a running memcached.
type memcached struct {
	c     net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	value []byte
}

func dialMemcached(t testing.TB, address string) *memcached {
	c, err := net.Dial("tcp", address)
	testkit.Must(t, err)
	m := &memcached{c, bufio.NewReaderSize(c, 1<<16), bufio.NewWriterSize(c, 1<<16), make([]byte, 1<<20)}
	if line := m.ask("flush_all\r\n"); line != "OK\r\n" {
		t.Fatalf("flush_all: %q", line)
	}
	return m
}

func (m *memcached) ask(command string) string {
	m.w.WriteString(command)
	if err := m.w.Flush(); err != nil {
		panic(err)
	}
	line, err := m.r.ReadString('\n')
	if err != nil {
		panic(err)
	}
	return line
}

func (m *memcached) request(key uint64, size int) bool {
	line := m.ask(fmt.Sprintf("get %010d\r\n", key))
	if line != "END\r\n" {
		if _, err := io.CopyN(io.Discard, m.r, int64(size+2+5)); err != nil {
			panic(err)
		}
		return true
	}
	fmt.Fprintf(m.w, "set %010d 0 0 %d\r\n", key, size)
	m.w.Write(m.value[:size])
	m.ask("\r\n")
	return false
}
