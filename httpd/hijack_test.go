package httpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// hijacking starts a server whose handler takes the connection and calls fn, in the handler or, if the path is /after, after it.
func hijacking(t *testing.T, s *Server, fn func(nc net.Conn, rw *bufio.ReadWriter)) (addr string) {
	t.Helper()
	return serve(t, s, func(w http.ResponseWriter, req *http.Request) {
		nc, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		if req.URL.Path == "/after" {
			go fn(nc, rw)
		} else {
			fn(nc, rw)
		}
	})
}

// eachHijacking runs a test with connections that are used in the handler, and with such that are used after it.
func eachHijacking(t *testing.T, fn func(nc net.Conn, rw *bufio.ReadWriter), test func(t *testing.T, addr, path string)) {
	t.Helper()
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := hijacking(t, s, fn)
		for _, path := range []string{"/within", "/after"} {
			t.Run(path[1:]+" the handler", func(t *testing.T) { test(t, addr, path) })
		}
	})
}

// The bytes that the client has sent with the request, and those that it sends later, are read from the connection in order.
func TestTheInputOfAHijackedConnectionIsComplete(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 10<<10)
	eachHijacking(t, func(nc net.Conn, rw *bufio.ReadWriter) {
		got, err := io.ReadAll(rw)
		fmt.Fprint(nc, len(got), string(got) == text, err)
		_ = nc.Close() // the client sees it
	}, func(t *testing.T, addr, path string) {
		for _, n := range []int{0, 1, 3000, len(text)} { // bytes in the write of the request
			c := dial(t, addr)
			c.send(get(path) + text[:n])
			c.send(text[n:])
			c.closeWrite()
			if got := c.rest(); got != fmt.Sprint(len(text), true, nil) {
				t.Errorf("%d bytes with the request: %s", n, got)
			}
		}
	})
}

// A handler that has read a part of a body finds the rest of it in the connection.
func TestABodyIsInputOfAHijackedConnection(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/part" {
				_, _ = io.ReadFull(req.Body, make([]byte, 3)) // the client sees the rest
			}
			nc, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Errorf("Hijack: %v", err)
				return
			}
			_, _ = io.Copy(nc, rw) // as above
			_ = nc.Close()         // as above
			if n, err := req.Body.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("the body after Hijack: %d bytes, %v", n, err)
			}
		})
		for path, want := range map[string]string{"/": "abcdef, more", "/part": "def, more"} {
			c := dial(t, addr)
			c.send(post(path, "Content-Length: 6\r\n") + "abcdef, more")
			c.closeWrite()
			if got := c.rest(); got != want {
				t.Errorf("%s: %q", path, got)
			}
		}
	})
}

func TestAHijackedConnectionHasDeadlines(t *testing.T) {
	eachHijacking(t, func(nc net.Conn, _ *bufio.ReadWriter) {
		defer func() { _ = nc.Close() }() // the client sees it
		_ = nc.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := nc.Read(make([]byte, 1))
		var timeout net.Error
		fmt.Fprintln(nc, errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout())
		_ = nc.SetDeadline(time.Time{})
		var b [1]byte
		_, err = nc.Read(b[:])
		fmt.Fprintf(nc, "%s %v\n", b[:], err)
		go func() {
			_ = nc.SetReadDeadline(time.Now()) // interrupts the Read
		}()
		_, err = nc.Read(b[:])
		fmt.Fprintln(nc, errors.Is(err, os.ErrDeadlineExceeded))
		_ = nc.SetWriteDeadline(time.Now().Add(-time.Second))
		if _, err := io.WriteString(nc, "not sent"); !errors.Is(err, os.ErrDeadlineExceeded) {
			panic(fmt.Sprint("Write after the deadline: ", err))
		}
	}, func(t *testing.T, addr, path string) {
		c := dial(t, addr)
		c.send(get(path))
		if line, err := c.r.ReadString('\n'); line != "true true\n" {
			t.Fatalf("%q, %v", line, err)
		}
		c.send("x")
		if got := c.rest(); got != "x <nil>\ntrue\n" {
			t.Errorf("%q", got)
		}
	})
}

// A Write that waits for a client that does not read fails at the deadline.
func TestAWriteDeadlineInterruptsTheWriteOfAHijackedConnection(t *testing.T) {
	ended := make(chan error, 1)
	eachHijacking(t, func(nc net.Conn, _ *bufio.ReadWriter) {
		defer func() { _ = nc.Close() }() // the client is gone
		_ = nc.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
		_, err := io.Copy(nc, endless{})
		ended <- err
	}, func(t *testing.T, addr, path string) {
		c := dial(t, addr)
		c.send(get(path))
		if err := testkit.Await(t, ended, "the end of the writes"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
}

// Close ends a Read and a Write that wait on other goroutines, and the methods fail with net.ErrClosed afterwards.
func TestCloseOfAHijackedConnectionEndsItsCalls(t *testing.T) {
	reads, writes, after := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	eachHijacking(t, func(nc net.Conn, _ *bufio.ReadWriter) {
		go func() {
			_, err := nc.Read(make([]byte, 1))
			reads <- err
		}()
		go func() {
			_, err := io.Copy(nc, endless{})
			writes <- err
		}()
		time.Sleep(2 * time.Millisecond) // so that mostly both wait; each order is correct
		_ = nc.Close()                   // by intention
		_, err1 := nc.Read(make([]byte, 1))
		_, err2 := nc.Write(make([]byte, 1))
		for _, err := range []error{err1, err2, nc.Close(), nc.SetReadDeadline(time.Now())} {
			if !errors.Is(err, net.ErrClosed) {
				after <- err
				return
			}
		}
		after <- nil
	}, func(t *testing.T, addr, path string) {
		c := dial(t, addr)
		c.send(get(path))
		for _, ch := range []chan error{reads, writes} {
			if err := testkit.Await(t, ch, "the end of a call"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the error is %v", err)
			}
		}
		if err := testkit.Await(t, after, "the calls after Close"); err != nil {
			t.Errorf("after Close: %v", err)
		}
	})
}

// The connection of a client that is gone ends the Read of a hijacked connection; the deadlines of the server do not.
func TestAHijackedConnectionEndsWithItsClient(t *testing.T) {
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	for name, row := range map[string]struct {
		leave func(*client)
		want  error
	}{
		"close": {func(c *client) { _ = c.Close() }, io.EOF},
		"reset": {(*client).reset, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			eachHijacking(t, func(nc net.Conn, _ *bufio.ReadWriter) {
				begun <- struct{}{}
				_, err := nc.Read(make([]byte, 1))
				ended <- err
				_ = nc.Close() // the client is gone
			}, func(t *testing.T, addr, path string) {
				c := dial(t, addr)
				c.send(get(path))
				testkit.Await(t, begun, "the request") // a reset discards what the server has not read
				row.leave(c)
				if err := testkit.Await(t, ended, "the end of Read"); !errors.Is(err, row.want) {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}

// A response that has begun is sent before the handler takes the connection.
func TestWhatWasWrittenBeforeHijackIsSent(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/head":
				w.Header().Set("Upgrade", "x")
				w.Header().Set("Connection", "Upgrade")
				w.WriteHeader(http.StatusSwitchingProtocols)
			case "/body":
				_, _ = io.WriteString(w, "hello")
			}
			nc, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Errorf("Hijack: %v", err)
				return
			}
			_, _ = rw.WriteString("raw")
			_ = rw.Flush() // the client sees it
			_ = nc.Close() // as above
			if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("a second Hijack: %v", err)
			}
			if n, err := w.Write(nil); n != 0 || !errors.Is(err, http.ErrHijacked) {
				t.Errorf("Write of nothing: %d, %v", n, err)
			}
		})
		for path, want := range map[string]string{
			"/": "raw", "/head": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\nDate: now\r\n\r\nraw",
			"/body": "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nraw",
		} {
			c := dial(t, addr)
			c.send(get(path))
			if got := dateLine.ReplaceAllString(c.rest(), "Date: now\r\n"); got != want {
				t.Errorf("%s: %q", path, got)
			}
		}
	})
}

// httputil.ReverseProxy passes an upgrade through, with the proxy and the backend on this server.
func TestAReverseProxyPassesAnUpgrade(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		backend := hijacking(t, &Server{Placement: s.Placement}, func(nc net.Conn, rw *bufio.ReadWriter) {
			_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst") // the client sees it
			_, _ = io.Copy(nc, rw)                                                                                             // as above
			_ = nc.Close()                                                                                                     // as above
		})
		target, err := url.Parse("http://" + backend)
		testkit.Must(t, err)
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport}
		c := dial(t, serve(t, s, proxy.ServeHTTP))
		c.send(get("/", "Connection: Upgrade\r\nUpgrade: echo\r\n") + "hello")
		if text := c.head(); !strings.HasPrefix(text, "HTTP/1.1 101 ") {
			t.Fatalf("the response is %q", text)
		}
		got := make([]byte, 10)
		if _, err := io.ReadFull(c.r, got); err != nil || string(got) != "firsthello" {
			t.Fatalf("%q, %v", got, err)
		}
		c.send("more")
		if _, err := io.ReadFull(c.r, got[:4]); err != nil || !bytes.HasPrefix(got, []byte("more")) {
			t.Errorf("%q, %v", got, err)
		}
		c.closeWrite()
		if rest := c.rest(); rest != "" {
			t.Errorf("after the end: %q", rest)
		}
	})
}

// When the backend ends an upgraded connection, the client of the proxy sees the end.
func TestAReverseProxyPassesTheEndOfAnUpgrade(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		backend := hijacking(t, &Server{Placement: s.Placement}, func(nc net.Conn, _ *bufio.ReadWriter) {
			_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nbye") // the client sees it
			_ = nc.Close()                                                                                                   // as above
		})
		target, err := url.Parse("http://" + backend)
		testkit.Must(t, err)
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport}
		c := dial(t, serve(t, s, proxy.ServeHTTP))
		c.send(get("/", "Connection: Upgrade\r\nUpgrade: echo\r\n"))
		c.head()
		if rest := c.rest(); rest != "bye" {
			t.Errorf("the client gets %q", rest)
		}
	})
}

// A handler of httputil.ReverseProxy passes bodies of both directions, also if the backend responds early.
func TestAReverseProxyPassesBodies(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		backend := serve(t, &Server{Placement: s.Placement}, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/early" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			w.Header().Set("Trailer", "Length")
			body, err := io.ReadAll(req.Body)
			n, _ := w.Write(body) // the client sees it
			w.Header().Set("Length", fmt.Sprint(n, err))
		})
		target, err := url.Parse("http://" + backend)
		testkit.Must(t, err)
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.ErrorLog = s.ErrorLog
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		proxy.Transport = transport
		addr := serve(t, s, proxy.ServeHTTP)
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		resp, err := client.Post("http://"+addr+"/", "text/plain", io.LimitReader(endless{}, 100_000))
		testkit.Must(t, err)
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close() // it was read
		if n != 100_000 || err != nil || resp.Trailer.Get("Length") != "100000 <nil>" {
			t.Errorf("the response has %d bytes, %v, trailer %v", n, err, resp.Trailer)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/early", io.LimitReader(endless{}, 1<<20))
		testkit.Must(t, err)
		resp, err = client.Do(req)
		testkit.Must(t, err)
		_ = resp.Body.Close()                                                                    // it is empty
		if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusBadGateway { // the backend may reset the connection
			t.Errorf("the early response is %v", resp.Status)
		}
	})
}
