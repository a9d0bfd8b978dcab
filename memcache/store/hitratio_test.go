package store_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/evmq/evmq/memcache/store"
)

// evmq is the store as a policy.
type evmq struct {
	s     *store.Store
	value []byte
}

func newEvmq(t testing.TB, memory int) *evmq {
	s, _ := open(t, store.Config{Memory: int64(memory)})
	return &evmq{s, make([]byte, 1<<20)}
}

func (p *evmq) request(key uint64, size int) bool {
	var k [10]byte
	binary.LittleEndian.PutUint64(k[:], key)
	e := p.s.Lock(k[:])
	defer e.Unlock()
	if e.Found() {
		e.Use()
		return true
	}
	if err := e.Put(store.Meta{}, p.value[:size]); err != nil {
		panic(err)
	}
	return false
}

// hits is the share of requests that a policy has answered, of all and of bytes.
func hits(p policy, tr trace, overhead int) float64 {
	requests, found := 0, 0
	tr.each(func(key uint64) {
		requests++
		if p.request(key, sizeOf(key)+overhead) {
			found++
		}
	})
	return float64(found) / float64(requests)
}

// What memcached adds to a value: its head of 48 bytes, the number for cas, and the key of 10 bytes with its zero, a line's end.
const memcachedHead = 48 + 8 + 11 + 2

// On skewed traces of mixed sizes the store answers at least as many requests as memcached's queues would. So it does beside an LRU
// that wastes nothing, but for where what is popular keeps changing, which is what an LRU is best at.
func TestHitRatioIsAtLeastMemcached(t *testing.T) {
	skipIfRaced(t)
	const memory = 6 << 20
	for _, tr := range traces(75000, 150000) {
		cache := newEvmq(t, memory)
		ours, theirs, plain := hits(cache, tr, 0), hits(newSegmented(memory), tr, memcachedHead), hits(newLRU(memory), tr, memcachedHead)
		st := cache.s.Stats()
		t.Logf("%-20s store %.4f (items fill %.3f), segmented %.4f, LRU %.4f", tr.name, ours, float64(st.Bytes)/memory, theirs, plain)
		if ours < theirs || ours < plain && !tr.moving {
			t.Errorf("%s: the store answers %.4f, memcached %.4f, LRU %.4f", tr.name, ours, theirs, plain)
		}
	}
}

// TestHitRatioTable prints the table of larger traces. It runs if STORE_HITS is set; if that is the address of a memcached with 64 MB,
// flushed before each trace, it is asked, too.
func TestHitRatioTable(t *testing.T) {
	address := os.Getenv("STORE_HITS")
	if address == "" {
		t.Skip("STORE_HITS is not set")
	}
	const memory = 64 << 20
	for _, tr := range traces(1000000, 1000000) {
		line := fmt.Sprintf("%-20s store %.4f, segmented %.4f, LRU %.4f", tr.name, hits(newEvmq(t, memory), tr, 0),
			hits(newSegmented(memory), tr, memcachedHead), hits(newLRU(memory), tr, memcachedHead))
		if _, _, err := net.SplitHostPort(address); err == nil {
			p := dialMemcached(t, address)
			line += fmt.Sprintf(", memcached %.4f", hits(p, tr, 0))
			p.c.Close()
		}
		t.Log(line)
	}
}

// memcached is the real one.
type memcached struct {
	c     net.Conn
	r     *bufio.Reader
	w     *bufio.Writer
	value []byte
}

func dialMemcached(t testing.TB, address string) *memcached {
	c, err := net.Dial("tcp", address)
	must(t, err)
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
