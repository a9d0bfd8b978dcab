package memcache_test

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

const (
	forged = " / HTTP/1.1\r\nHost: cache\r\n\r\nset forged 0 0 4\r\nevil\r\n"

	getsForged = "get forged"
)

// TestAnHTTPRequestIsClosedAndNothingOfItIsExecuted with any method, at once or in pieces, after other commands, on a unix socket and from
// a client that has not authenticated.
func TestAnHTTPRequestIsClosedAndNothingOfItIsExecuted(t *testing.T) {
	users, err := memcache.LoadUsers(usersFile(t, "ann:secret\n"))
	testkit.Must(t, err)
	open, locked := start(t, memcache.Config{}), start(t, memcache.Config{Users: users})
	socket := filepath.Join(t.TempDir(), "socket")
	_, err = open.srv.Listen(context.Background(), "unix", socket, nil)
	testkit.Must(t, err)
	for _, test := range []struct{ name, network, addr, before, answers, request string }{
		{"a browser's", "tcp", open.addr, "", "", "POST" + forged},
		{"with any method", "tcp", open.addr, "", "", "get" + forged},
		{"with lines that end in LF alone", "tcp", open.addr, "", "", strings.ReplaceAll("PUT"+forged, "\r", "")},
		{"with a long target", "tcp", open.addr, "", "", "POST /" + strings.Repeat("x", 3000) + forged},
		{"behind other commands", "tcp", open.addr, "set a 0 0 1\r\nx\r\nget a\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n", "POST" + forged},
		{"on a unix socket", "unix", socket, "", "", "POST" + forged},
		{"before authentication", "tcp", locked.addr, "version\r\n", "CLIENT_ERROR unauthenticated\r\n", "POST / HTTP/1.1\r\n\r\nset u 0 0 10\r\nann secret\r\n" + "set forged 0 0 4\r\nevil\r\n"},
		{"after authentication", "tcp", locked.addr, "set u 0 0 10\r\nann secret\r\n", "STORED\r\n", "POST" + forged},
	} {
		for _, piece := range []int{1 << 20, 1} {
			t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
				nc, err := net.Dial(test.network, test.addr)
				testkit.Must(t, err)
				defer nc.Close()
				testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
				_, err = io.WriteString(nc, test.before)
				testkit.Must(t, err)
				got := make([]byte, len(test.answers))
				_, err = io.ReadFull(nc, got)
				testkit.Must(t, err)
				if string(got) != test.answers {
					t.Errorf("before the request: %q, want %q", got, test.answers)
				}
				for p := test.request; p != ""; {
					n := min(piece, len(p))
					if _, err := io.WriteString(nc, p[:n]); err != nil {
						break // it is closed
					}
					p = p[n:]
				}
				if rest, err := io.ReadAll(nc); len(rest) > 0 || isTimeout(err) {
					t.Errorf("the request is answered with %q, %v", rest, err)
				}
				c := open.connect(t)
				if test.addr == locked.addr {
					c = locked.connect(t)
					c.ask("set u 0 0 10|ann secret", "STORED")
				}
				c.ask(getsForged, "END")
			})
		}
	}
}

// TestAnHTTPRequestInADatagramIsNotExecuted, but the requests before it are.
func TestAnHTTPRequestInADatagramIsNotExecuted(t *testing.T) {
	r := start(t, memcache.Config{})
	pc, err := r.srv.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: r.Packet})
	testkit.Must(t, err)
	nc, err := net.Dial("udp", pc.LocalAddr().String())
	testkit.Must(t, err)
	defer nc.Close()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	for _, method := range []string{"POST", "get"} {
		_, err = io.WriteString(nc, "\x00\x01\x00\x00\x00\x01\x00\x00version\r\n"+method+forged+getsForged+"\r\n")
		testkit.Must(t, err)
		answer := make([]byte, 2000)
		n, err := nc.Read(answer)
		testkit.Must(t, err)
		if got := string(answer[8:n]); got != "VERSION "+memcache.Version+"\r\n" {
			t.Errorf("the answer is %q", got)
		}
	}
	r.connect(t).ask(getsForged, "END")
}

// TestAKeyMayBeNamedLikeAVersionOfHTTP, in a line that is not a request of HTTP.
func TestAKeyMayBeNamedLikeAVersionOfHTTP(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	c.ask("set HTTP/1.1 0 0 1|x|get HTTP/1.1|get HTTP/1.1 a|mg HTTP/1.1 v|delete HTTP/1.1", "STORED|VALUE HTTP/1.1 0 1|x|END|VALUE HTTP/1.1 0 1|x|END|VA 1|x|DELETED")
	c.ask("set body 0 0 15|POST / HTTP/1.1|get body", "STORED|VALUE body 0 15|POST / HTTP/1.1|END")
}
