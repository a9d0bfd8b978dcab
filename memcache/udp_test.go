package memcache_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/memcache"
)

// TestDatagramsAreNumbered: a request in one, its answer in as many as it takes; what is no request is not answered.
func TestDatagramsAreNumbered(t *testing.T) {
	r := start(t, memcache.Config{})
	pc, err := r.srv.ListenPacket("udp", "127.0.0.1:0", r.Packet)
	must(t, err)
	nc, err := net.Dial("udp", pc.LocalAddr().String())
	must(t, err)
	defer nc.Close()
	must(t, nc.SetDeadline(time.Now().Add(patience)))
	send := func(id, number, total uint16, body string) {
		d := binary.BigEndian.AppendUint16(nil, id)
		d = binary.BigEndian.AppendUint16(d, number)
		d = binary.BigEndian.AppendUint16(d, total)
		_, err := nc.Write(append(append(d, 0, 0), body...))
		must(t, err)
	}
	expect := func(id uint16, want string) {
		t.Helper()
		var got strings.Builder
		for number, total := uint16(0), uint16(1); number < total; number++ {
			d := make([]byte, 2000)
			n, err := nc.Read(d)
			must(t, err)
			total = binary.BigEndian.Uint16(d[4:])
			if n > 1400 || binary.BigEndian.Uint16(d) != id || binary.BigEndian.Uint16(d[2:]) != number {
				t.Fatalf("a datagram of %d bytes begins with %x", n, d[:8])
			}
			got.Write(d[8:n])
		}
		if got.String() != want {
			t.Errorf("%.100q; want %.100q", got.String(), want)
		}
	}
	value := strings.Repeat("v", 20_000)
	send(7, 0, 1, "set k 0 0 5\r\nhello\r\nget k\r\n")
	expect(7, "STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n")
	c := r.connect(t)
	c.ask("set big 0 0 20000|"+value, "STORED")
	send(8, 1, 1, "get k\r\n")
	send(9, 0, 2, "get k\r\n")
	_, err = nc.Write([]byte("short"))
	must(t, err)
	send(10, 0, 1, "get k")
	send(11, 0, 1, "set k 0 0 20000\r\nxxx")
	send(12, 0, 1, "get big\r\n")
	expect(12, fmt.Sprintf("VALUE big 0 20000\r\n%s\r\nEND\r\n", value))
	send(13, 0, 1, "lru_crawler metadump all\r\n")
	expect(13, "ERROR metadump needs a connection\r\n")
	must(t, pc.Close())
}
