package examples_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	// The programs use these; a change of them must make go test run the tests again.
	"github.com/evmq/evmq/internal/testkit"
	_ "github.com/evmq/evmq/server"
	_ "github.com/evmq/evmq/server/framing"
)

// client is a connection whose every call is bounded in time.
type client struct {
	*net.TCPConn
	t  *testing.T
	in *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, c)
}

// newClient makes a client of a connection, which is closed when the test ends.
func newClient(t *testing.T, c net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	testkit.Must(t, c.SetDeadline(time.Now().Add(patience)))
	return &client{c.(*net.TCPConn), t, bufio.NewReaderSize(c, 128<<10)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// expect wants exactly text, as it comes.
func (c *client) expect(text string) {
	c.t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c.in, got); err != nil || string(got) != text {
		c.t.Fatalf("got %.80q and %v, want %.80q", got[:n], err, text)
	}
}

// expectEnd wants the end of the connection, a reset included, and nothing before it.
func (c *client) expectEnd() {
	c.t.Helper()
	got, err := io.ReadAll(c.in)
	if len(got) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("got %.80q and %v, want the end", got, err)
	}
}

// readLine returns the next line without its end.
func (c *client) readLine() string {
	c.t.Helper()
	line, err := c.in.ReadString('\n')
	if err != nil {
		c.t.Fatalf("got %.80q and %v, want a line", line, err)
	}
	return strings.TrimRight(line, "\r\n")
}

// expectLines wants exactly these lines, whether they end with LF or CRLF.
func (c *client) expectLines(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.readLine(); got != w {
			c.t.Fatalf("got %.80q, want %.80q", got, w)
		}
	}
}

// closeAtEnd makes clients read until the server ends the stream, and then close, as programs do. A server that is stopped waits for that if it
// has just sent something.
func closeAtEnd(clients ...*client) {
	for _, c := range clients {
		go func() {
			_, _ = io.Copy(io.Discard, c.in)
			c.Close()
		}()
	}
}

// listening starts a program that says where it listens.
func listening(t *testing.T, binary string, args ...string) (p *program, addr string) {
	t.Helper()
	p = start(t, binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	return p, p.line("listening on ")
}

// stop ends a program in order and returns what it says of itself. A client that stays until the end is seen off, which takes until
// it has closed or the server's CloseTimeout has passed; so clients that are done with close first.
func (p *program) stop(done ...*client) string {
	p.t.Helper()
	for _, c := range done {
		c.Close()
	}
	p.signal(syscall.SIGTERM)
	said := p.line("stopped: ")
	p.wait()
	return said
}
