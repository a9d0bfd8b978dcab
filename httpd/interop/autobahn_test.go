package interop_test

import (
	"bufio"
	bigendian "encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// TestAutobahnCases runs the cases of the table, each on a WebSocket of its own.
func TestAutobahnCases(t *testing.T) {
	addr := startSockets(t)
	for _, c := range autobahnCases() {
		t.Run(c.number, func(t *testing.T) { c.run(t, addr) })
	}
}

// mask is the key of each frame.
const mask = "\x37\xfa\x21\x3d"

// frame returns a masked frame with the shortest form of its length.
func frame(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = bigendian.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = bigendian.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%len(mask)])
	}
	return string(b)
}

// run runs a case.
func (c *autobahnCase) run(t *testing.T, addr string) {
	t.Helper()
	nc := openSocket(t, addr, "/echo")
	r := bufio.NewReaderSize(nc, 64<<10)
	send, want := c.send, c.want
	if len(want) == 0 || !strings.HasPrefix(want[len(want)-1], "close") {
		send, want = append(append([]string{}, send...), closes(code(1000, ""))), append(append([]string{}, want...), normal)
	}
	expect := func() {
		if got, err := event(r); got != want[0] || err != nil {
			t.Fatalf("the server sends %.60q (%d bytes), %v, not %.60q", got, len(got), err, want[0])
		}
		want = want[1:]
	}
	written := make(chan struct{})
	resume := make(chan struct{})
	go func() { // what the server sends may exceed the buffers of the kernel
		defer close(written)
		c.write(nc, send, resume)
	}()
	for _, s := range send {
		if s == await {
			expect()
			resume <- struct{}{}
		}
	}
	for len(want) > 0 {
		expect()
	}
	// The server closes the connection. It may do so before it has read everything, which resets the connection.
	if n, err := io.Copy(io.Discard, r); n > 0 || err != nil && !strings.Contains(err.Error(), "connection reset") {
		t.Errorf("after its close frame the server sends %d bytes, %v", n, err)
	}
	testkit.Await(t, written, "the end of writing")
}

// write writes the frames of a case. Errors are ignored: the server may have closed the connection, which the answers show.
func (c *autobahnCase) write(nc net.Conn, send []string, resume <-chan struct{}) {
	w := bufio.NewWriterSize(nc, 64<<10)
	for _, s := range send {
		if s == await {
			<-resume
			continue
		}
		if c.chop != octetwise {
			_, _ = w.WriteString(s)
			if c.chop == framewise {
				_ = w.Flush()
			}
			continue
		}
		for i := range len(s) {
			_ = w.WriteByte(s[i])
			_ = w.Flush()
		}
	}
	_ = w.Flush()
}

// openSocket opens a WebSocket without extensions.
func openSocket(t *testing.T, addr, path string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = nc.Close() }) // the test is over
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
	_, err = io.WriteString(nc, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	testkit.Must(t, err)
	var head strings.Builder // byte by byte, so that nothing after the head is lost
	for b := make([]byte, 1); !strings.HasSuffix(head.String(), "\r\n\r\n"); {
		_, err := io.ReadFull(nc, b)
		testkit.Must(t, err)
		head.Write(b)
	}
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head.String())), nil) //nolint:bodyclose // it has none
	testkit.Must(t, err)
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("the response to the handshake is %q", head.String())
	}
	return nc
}

// event reads a frame of the server. A message must be in one frame.
func event(r *bufio.Reader) (string, error) {
	head := make([]byte, 2, 8)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	n := uint64(head[1])
	if head[1] >= 126 {
		long := make([]byte, 2+6*(head[1]-126))
		if _, err := io.ReadFull(r, long); err != nil {
			return "", err
		}
		if n = uint64(bigendian.BigEndian.Uint16(long)); head[1] == 127 {
			n = bigendian.BigEndian.Uint64(long)
		}
	}
	if head[1] > 127 || n > 32<<20 {
		return "", fmt.Errorf("the server sends the frame % x with %d bytes", head, n)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return "", err
	}
	switch head[0] {
	case fin | textFrame:
		return "text " + string(payload), nil
	case fin | binFrame:
		return "binary " + string(payload), nil
	case fin | pongFrame:
		return "pong " + string(payload), nil
	case fin | clsFrame:
		if len(payload) < 2 {
			return "close", nil
		}
		return fmt.Sprint("close ", bigendian.BigEndian.Uint16(payload)), nil
	}
	return "", fmt.Errorf("the server sends the frame % x %.100q", head, payload)
}
