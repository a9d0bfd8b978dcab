//go:build linux

package http_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/evmq/evmq/bench/internal/httppeer"
	"github.com/evmq/evmq/bench/internal/peertest"
)

// The numbers of bytes of the responses to requests for / and /json, which README states.
const helloLength, jsonLength = 122, 215

// eachServer runs a test with all servers.
func eachServer(t *testing.T, test func(t *testing.T, name string)) {
	for _, name := range []string{"evmq", "net", "fasthttp", "nbhttp"} {
		t.Run(name, func(t *testing.T) { test(t, name) })
	}
}

// A client has one connection.
type client struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c := peertest.Dial(t, addr)
	return &client{t, c, bufio.NewReader(c)}
}

// send sends requests without a body.
func (c *client) send(paths ...string) {
	c.t.Helper()
	var all strings.Builder
	for _, path := range paths {
		all.WriteString("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	if _, err := io.WriteString(c.c, all.String()); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads a response and requires its body, unless want is nil. It returns the header and the length that the header states.
func (c *client) expect(status int, want []byte) (http.Header, int64) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err == nil {
		err = resp.Body.Close()
	}
	if err != nil || resp.StatusCode != status || want != nil && !bytes.Equal(got, want) {
		c.t.Fatalf("got %d with %d bytes %.100q and %v, want %d with %d bytes", resp.StatusCode, len(got), got, err, status, len(want))
	}
	return resp.Header, resp.ContentLength
}

// TestEachPathIsServedOnOneConnection with the body, and the type, that all servers have.
func TestEachPathIsServedOnOneConnection(t *testing.T) {
	eachServer(t, func(t *testing.T, name string) {
		addr, _ := peertest.Start(t, name)
		c := dial(t, addr)
		for range 3 {
			for path, want := range map[string][]byte{"/": []byte(httppeer.Hello), "/json": httppeer.JSON(), "/db": httppeer.JSON()} {
				c.send(path)
				header, length := c.expect(http.StatusOK, want)
				kind := "application/json"
				if path == "/" {
					kind = "text/plain; charset=utf-8"
				}
				if got := header.Get("Content-Type"); got != kind || header.Get("Date") == "" || length != int64(len(want)) {
					t.Errorf("%s: the length is %d and the header %v", path, length, header)
				}
			}
			c.send("/other")
			c.expect(http.StatusNotFound, nil)
		}
	})
}

// TestResponsesHaveTheSameLength: a client that counts bytes can measure all servers.
func TestResponsesHaveTheSameLength(t *testing.T) {
	eachServer(t, func(t *testing.T, name string) {
		addr, _ := peertest.Start(t, name)
		c := dial(t, addr)
		for path, want := range map[string]int{"/": helloLength, "/json": jsonLength} {
			c.send(path, "/")
			all := make([]byte, want+helloLength)
			if _, err := io.ReadFull(c.r, all); err != nil {
				t.Fatal(err)
			}
			if second := all[want:]; !bytes.HasPrefix(second, []byte("HTTP/1.1 200 ")) || !bytes.HasSuffix(second, []byte("\r\n\r\n"+httppeer.Hello)) {
				t.Errorf("%s: the response has not %d bytes: %q", path, want, all)
			}
		}
	})
}

// TestPipelinedRequestsAreServedInOrder, the slow ones included.
func TestPipelinedRequestsAreServedInOrder(t *testing.T) {
	eachServer(t, func(t *testing.T, name string) {
		addr, _ := peertest.Start(t, name)
		c := dial(t, addr)
		paths := strings.Fields(strings.Repeat("/ /json /db / ", 25))
		c.send(paths...)
		for _, path := range paths {
			want := httppeer.JSON()
			if path == "/" {
				want = []byte(httppeer.Hello)
			}
			c.expect(http.StatusOK, want)
		}
	})
}

// TestFileIsServed as a whole and in parts. It exceeds the buffers of the server and of the kernel.
func TestFileIsServed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	data := bytes.Repeat([]byte("0123456789abcdef"), 512<<10)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	eachServer(t, func(t *testing.T, name string) {
		addr, _ := peertest.Start(t, name, "-file", file)
		c := dial(t, addr)
		for range 2 {
			c.send("/file")
			c.expect(http.StatusOK, data)
			if _, err := io.WriteString(c.c, "GET /file HTTP/1.1\r\nHost: localhost\r\nRange: bytes=5-1000004\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			c.expect(http.StatusPartialContent, data[5:1000005])
		}
	})
}

// TestUploadIsCounted with a Content-Length and in chunks, in memory and larger than that.
func TestUploadIsCounted(t *testing.T) {
	eachServer(t, func(t *testing.T, name string) {
		addr, _ := peertest.Start(t, name)
		for _, size := range []int{0, 1, 100_000, 16 << 20} {
			for _, length := range []int64{int64(size), -1} {
				req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/upload", bytes.NewReader(make([]byte, size)))
				if err != nil {
					t.Fatal(err)
				}
				req.ContentLength = length
				if length == 0 {
					req.Body = nil // otherwise 0 means that the length is not known
				} else if length < 0 {
					req.Body = io.NopCloser(bytes.NewReader(make([]byte, size)))
				}
				c := dial(t, addr)
				if err := req.Write(c.c); err != nil {
					t.Fatal(err)
				}
				c.expect(http.StatusOK, []byte(strconv.Itoa(size)+"\n"))
			}
		}
	})
}

// TestOptionsThatALibraryLacksAreRefused and invalid ones.
func TestOptionsThatALibraryLacksAreRefused(t *testing.T) {
	for _, c := range []struct{ name, args, want string }{
		{"net", "-loops 2", "-loops is not available"},
		{"fasthttp", "-loops 2", "-loops is not available"},
		{"nbhttp", "-placement loop", "-placement is not available"},
		{"evmq", "-placement elsewhere", "unknown -placement elsewhere"},
		{"evmq", "-loops -1", "-loops is -1"},
		{"net", "file", `unexpected argument "file"`},
	} {
		out, err := exec.Command(peertest.Program(t, c.name), strings.Fields(c.args)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s %s ended with %v and printed %q", c.name, c.args, err, out)
		}
	}
}
