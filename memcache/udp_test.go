package memcache_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// packetClient is a client that sends datagrams.
type packetClient struct {
	net.Conn
	t *testing.T
}

// connectPackets opens a UDP socket of the server, and a client of it.
func (r *running) connectPackets(t *testing.T) *packetClient {
	t.Helper()
	pc, err := r.srv.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: r.Packet})
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Must(t, pc.Close()) })
	nc, err := net.Dial("udp", pc.LocalAddr().String())
	testkit.Must(t, err)
	t.Cleanup(func() { nc.Close() })
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	return &packetClient{nc, t}
}

func (c *packetClient) send(id, number, total uint16, body string) {
	c.t.Helper()
	d := binary.BigEndian.AppendUint16(nil, id)
	d = binary.BigEndian.AppendUint16(d, number)
	d = binary.BigEndian.AppendUint16(d, total)
	_, err := c.Write(append(append(d, 0, 0), body...))
	testkit.Must(c.t, err)
}

// expect reads the datagrams of one answer.
func (c *packetClient) expect(id uint16, want string) {
	c.t.Helper()
	var got strings.Builder
	for number, total := uint16(0), uint16(1); number < total; number++ {
		d := make([]byte, 2000)
		n, err := c.Read(d)
		testkit.Must(c.t, err)
		total = binary.BigEndian.Uint16(d[4:])
		if n > 1400 || binary.BigEndian.Uint16(d) != id || binary.BigEndian.Uint16(d[2:]) != number {
			c.t.Fatalf("a datagram of %d bytes begins with %x", n, d[:8])
		}
		got.Write(d[8:n])
	}
	if got.String() != want {
		c.t.Errorf("%.100q; want %.100q", got.String(), want)
	}
}

// TestDatagramsOfAnAnswerAreNumbered. Datagrams without a complete request are not answered.
func TestDatagramsOfAnAnswerAreNumbered(t *testing.T) {
	r := start(t, memcache.Config{})
	u := r.connectPackets(t)
	value := strings.Repeat("v", 20_000)
	u.send(7, 0, 1, "set k 0 0 5\r\nhello\r\nget k\r\n")
	u.expect(7, "STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n")
	c := r.connect(t)
	c.ask("set big 0 0 20000|"+value, "STORED")
	u.send(8, 1, 1, "get k\r\n")
	u.send(9, 0, 2, "get k\r\n")
	_, err := u.Write([]byte("short"))
	testkit.Must(t, err)
	u.send(10, 0, 1, "get k")
	u.send(11, 0, 1, "set k 0 0 20000\r\nxxx")
	u.send(12, 0, 1, "get big\r\n")
	u.expect(12, fmt.Sprintf("VALUE big 0 20000\r\n%s\r\nEND\r\n", value))
	u.send(13, 0, 1, "lru_crawler metadump all\r\n")
	u.expect(13, "ERROR metadump needs a connection\r\n")
}

// TestRequestsOfADatagramAreAnsweredTogether, up to a quit, in either protocol. Each datagram is independent of others.
func TestRequestsOfADatagramAreAnsweredTogether(t *testing.T) {
	u := start(t, memcache.Config{}).connectPackets(t)
	frame := func(op byte) string { return "\x80" + string(op) + strings.Repeat("\x00", 22) }
	answer := func(op byte) string { return "\x81" + string(op) + strings.Repeat("\x00", 22) }
	const noop, quit, quitQuietly = 0x0a, 0x07, 0x17
	for i, c := range []struct{ request, answer string }{
		{"set a 0 0 1\r\n1\r\nincr a 1\r\nget a missing a\r\nmn\r\n", "STORED\r\n2\r\nVALUE a 0 1\r\n2\r\nVALUE a 0 1\r\n2\r\nEND\r\nMN\r\n"},
		{"mn\r\nquit\r\nmn\r\n", "MN\r\n"},
		{"quit\r\nmn\r\n", ""},
		{"set a 0 0 5\r\nab", ""},
		{"cde\r\nmn\r\n", "ERROR\r\nMN\r\n"},
		{frame(noop) + frame(noop), answer(noop) + answer(noop)},
		{frame(noop) + frame(quit) + frame(noop), answer(noop) + answer(quit)},
		{frame(quitQuietly) + frame(noop), ""},
		{frame(noop)[:20], ""},
		{"mn\r\n", "MN\r\n"},
		{strings.Repeat("mn\r\n", 200), strings.Repeat("MN\r\n", 200)},
		{frame(noop) + "mn\r\n", answer(noop)},
		{strings.Repeat("x", 1392), ""},
		{"get a\r\n", "VALUE a 0 1\r\n2\r\nEND\r\n"},
	} {
		if u.send(uint16(i), 0, 1, c.request); c.answer != "" {
			u.expect(uint16(i), c.answer)
		}
	}
}
