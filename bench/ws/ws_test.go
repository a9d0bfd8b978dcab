//go:build linux

package ws_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/evmq/evmq/bench/internal/peertest"
	"github.com/evmq/evmq/bench/internal/wsclient"
	"github.com/evmq/evmq/bench/internal/wspeer"
)

// eachServer runs a test with all servers.
func eachServer(t *testing.T, test func(t *testing.T, name, addr string)) {
	for _, name := range []string{"evmq", "gorilla", "coder", "gws", "nbio"} {
		t.Run(name, func(t *testing.T) {
			addr, _ := peertest.Start(t, name)
			test(t, name, addr)
		})
	}
}

// A socket is an open WebSocket.
type socket struct {
	t        *testing.T
	c        net.Conn
	r        *bufio.Reader
	p        wsclient.Parser
	messages []wsclient.Message
}

func open(t *testing.T, addr string, path wspeer.Path) *socket {
	t.Helper()
	s := &socket{t: t, c: peertest.Dial(t, addr), p: wsclient.Parser{Keep: true}}
	s.r = bufio.NewReader(s.c)
	s.send(wsclient.Request(string(path), path == wspeer.Deflate))
	resp, err := http.ReadResponse(s.r, nil) //nolint:bodyclose // the connection is closed
	if err == nil {
		err = wsclient.Check(resp, path == wspeer.Deflate)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *socket) send(p []byte) {
	s.t.Helper()
	if _, err := s.c.Write(p); err != nil {
		s.t.Fatal(err)
	}
}

// receive receives until there is a message.
func (s *socket) receive() {
	s.t.Helper()
	buf := make([]byte, 64<<10)
	for len(s.messages) == 0 {
		n, err := s.r.Read(buf)
		if err == nil {
			err = s.p.Feed(buf[:n], func(m *wsclient.Message) {
				c := *m
				c.Payload = bytes.Clone(m.Payload)
				s.messages = append(s.messages, c)
			})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// expect requires the next message.
func (s *socket) expect(opcode byte, compressed bool, want []byte) {
	s.t.Helper()
	if len(s.messages) == 0 {
		s.receive()
	}
	m := s.messages[0]
	s.messages = s.messages[1:]
	if m.Compressed {
		var err error
		if m.Payload, err = wsclient.Inflate(m.Payload); err != nil {
			s.t.Fatal(err)
		}
	}
	if m.Opcode != opcode || m.Compressed != compressed || !bytes.Equal(m.Payload, want) {
		s.t.Fatalf("got opcode %d, compressed %t, %.50q (%d bytes), want %d, %t, %.50q (%d bytes)", m.Opcode, m.Compressed, m.Payload, len(m.Payload), opcode, compressed, want, len(want))
	}
}

// TestMessagesAreEchoed in order, text and binary, of each length, in one frame and in fragments, also if all are sent at once.
func TestMessagesAreEchoed(t *testing.T) {
	eachServer(t, func(t *testing.T, name, addr string) {
		for _, path := range []wspeer.Path{wspeer.Echo, wspeer.Deflate} {
			s := open(t, addr, path)
			sizes := []int{0, 1, 125, 126, 1024, 65_535, 65_536, 1 << 20}
			if name == "nbio" {
				sizes = sizes[1:] // it does not deliver empty messages
			}
			go func() { // the answers exceed the buffers of the kernel
				for _, size := range sizes {
					for _, opcode := range []byte{wsclient.Text, wsclient.Binary} {
						_, _ = s.c.Write(wsclient.Frame(opcode, wspeer.Message(size), path == wspeer.Deflate)) // the answers show it
					}
				}
				_, _ = io.WriteString(s.c, "\x01\x82\x00\x00\x00\x00ab"+"\x89\x81\x00\x00\x00\x00p"+"\x80\x81\x00\x00\x00\x00c") // as above
			}()
			for _, size := range sizes {
				for _, opcode := range []byte{wsclient.Text, wsclient.Binary} {
					s.expectAny(opcode, wspeer.Message(size), path == wspeer.Deflate && size >= 1024)
				}
			}
			s.expectAny(wsclient.Text, []byte("abc"), false)
		}
	})
}

// expectAny requires the next message, which may be compressed, and has to be if compressed is set: libraries send short messages without compression.
func (s *socket) expectAny(opcode byte, want []byte, compressed bool) {
	s.t.Helper()
	if len(s.messages) == 0 {
		s.receive()
	}
	s.expect(opcode, compressed || s.messages[0].Compressed, want)
}

// TestAllSocketsOfSubReceiveABroadcast each message once, and what they send is ignored. Those of other paths receive nothing.
func TestAllSocketsOfSubReceiveABroadcast(t *testing.T) {
	eachServer(t, func(t *testing.T, _, addr string) {
		var subs []*socket
		for range 20 {
			s := open(t, addr, wspeer.Sub)
			s.send(wsclient.Frame(wsclient.Text, []byte("ignored"), false))
			subs = append(subs, s)
		}
		echo := open(t, addr, wspeer.Echo)
		until(t, addr, 20)
		for _, size := range []int{1, 1024, 100_000} {
			if got := get(t, addr, fmt.Sprintf("/broadcast?n=3&size=%d", size)); got != "20\n" {
				t.Fatalf("a broadcast was sent to %q", got)
			}
			for _, s := range subs {
				for range 3 {
					s.expectNonEmpty(wspeer.Message(size))
				}
			}
		}
		echo.send(wsclient.Frame(wsclient.Text, []byte("first"), false))
		echo.expect(wsclient.Text, false, []byte("first"))
		_ = subs[0].c.Close() // the test is about the others
		until(t, addr, 19)
	})
}

// expectNonEmpty requires the next message that is not empty: the empty ones have waited for the sockets.
func (s *socket) expectNonEmpty(want []byte) {
	s.t.Helper()
	for {
		if len(s.messages) == 0 {
			s.receive()
		}
		if s.messages[0].Length > 0 {
			break
		}
		s.messages = s.messages[1:]
	}
	s.expect(wsclient.Binary, false, want)
}

// until sends empty messages until they are sent to n sockets: a socket joins the group, and leaves it, a little after the client knows.
func until(t *testing.T, addr string, n int) {
	t.Helper()
	for want := fmt.Sprintf("%d\n", n); get(t, addr, "/broadcast?n=1&size=0") != want; {
		if t.Context().Err() != nil {
			t.Fatal("the test has ended")
		}
	}
}

func get(t *testing.T, addr, path string) string {
	t.Helper()
	client := &http.Client{Timeout: peertest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = resp.Body.Close()
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %q, %v", path, resp.Status, body, err)
	}
	return string(body)
}

// TestOtherPathsAreAnswered without a WebSocket.
func TestOtherPathsAreAnswered(t *testing.T) {
	eachServer(t, func(t *testing.T, _, addr string) {
		if got := get(t, addr, "/gc"); got != "done\n" {
			t.Errorf("the answer is %q", got)
		}
		for path, want := range map[string]string{"/other": "HTTP/1.1 404 ", "/broadcast?n=0&size=1": "HTTP/1.1 400 "} {
			c := peertest.Dial(t, addr)
			if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(c).ReadString('\n'); !strings.HasPrefix(line, want) {
				t.Errorf("%s is answered with %q, %v", path, line, err)
			}
		}
	})
}

// TestOptionsThatALibraryLacksAreRefused and invalid ones.
func TestOptionsThatALibraryLacksAreRefused(t *testing.T) {
	for _, c := range []struct{ name, args, want string }{
		{"gorilla", "-loops 2", "-loops is not available"},
		{"coder", "-placement loop", "-placement is not available"},
		{"gws", "-loops 2", "-loops is not available"},
		{"nbio", "-placement loop", "-placement is not available"},
		{"nbio", "-loops -1", "-loops is -1"},
		{"evmq", "-placement elsewhere", "unknown -placement elsewhere"},
	} {
		out, err := exec.Command(peertest.Program(t, c.name), strings.Fields(c.args)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s %s ended with %v and printed %q", c.name, c.args, err, out)
		}
	}
}
