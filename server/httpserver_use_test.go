package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// startHTTP starts the server of httpserver_test.go, and returns a client of package net/http.
func startHTTP(t *testing.T, r rig, p server.Placement, h http.HandlerFunc) (*running, *http.Client) {
	t.Helper()
	d := serveHTTP(h)
	d.Placement = p
	s := start(t, r, &server.Server{Handler: d})
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return net.Dial(s.addr.Network(), s.addr.String())
		},
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return s.dial(t), nil },
	}
	t.Cleanup(transport.CloseIdleConnections)
	return s, &http.Client{Transport: transport}
}

// url returns the URL of the server for the client of startHTTP.
func (s *running) url(path string) string {
	if s.rig.tls {
		return "https://localhost" + path
	}
	return "http://localhost" + path
}

// sumBody answers with the length and a sum of the body, and leaves the body of /ignore unread.
func sumBody(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/ignore" {
		return
	}
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, req.Body)
	_, _ = fmt.Fprintf(w, "%s %d %d %v", req.Method, n, sum.Sum32(), err)
}

// The connection is kept, bodies have a length or come in chunks, and one that the handler does not read is skipped.
func TestAnHTTPServerOnExportedMethods(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		s, client := startHTTP(t, r, p, sumBody)
		for _, n := range []int{0, 1, 100, 70000, 2 << 20} {
			body := noise(n)
			for _, chunked := range []bool{false, true} {
				for _, path := range []string{"/", "/ignore"} {
					var reader io.Reader = bytes.NewReader(body)
					if chunked {
						reader = io.MultiReader(reader) // of unknown length
					}
					req, err := http.NewRequest(http.MethodPost, s.url(path), reader)
					testkit.Must(t, err)
					if n > 1000 {
						req.Header.Set("Expect", "100-continue")
					}
					res, err := client.Do(req)
					if path == "/ignore" && n > 256<<10 && err != nil {
						continue // the server has closed the connection while the client sent
					}
					testkit.Must(t, err)
					got, err := io.ReadAll(res.Body)
					testkit.Must(t, err)
					testkit.Must(t, res.Body.Close())
					want := fmt.Sprintf("POST %d %d <nil>", n, crc32.ChecksumIEEE(body))
					if path == "/" && string(got) != want {
						t.Errorf("chunked %v, %d bytes: %q, want %q", chunked, n, got, want)
					}
				}
			}
		}
		client.CloseIdleConnections()
		s.shutdown(t)
		s.drained(t)
	})
}

// The bytes behind the body are the next request, in one write or in two.
func TestPipelinedHTTPRequestsFollowTheirBodies(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		s, _ := startHTTP(t, r, p, sumBody)
		nc := s.dial(t)
		one := "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
		two := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: x\r\n\r\n"
		for _, at := range []int{0, 10, len(one) - 2, len(one) + 70, len(one) + len(two) - 4} {
			all := one + two + one
			send(t, nc, all[:at])
			send(t, nc, all[at:])
			for range 3 {
				expect(t, nc, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\nPOST 5 %d <nil>", crc32.ChecksumIEEE([]byte("hello"))))
			}
		}
	})
}

// The client and the new handler exchange bytes on the same connection, those that came with the request first.
func TestAnHTTPUpgradePassesTheConnectionOn(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		upgrade := func(w http.ResponseWriter, _ *http.Request) {
			if err := w.(*response).upgrade("echo", server.HandlerFunc(echo)); err != nil {
				t.Errorf("SetHandler: %v", err)
			}
		}
		s, client := startHTTP(t, r, p, upgrade)
		req, err := http.NewRequest(http.MethodGet, s.url("/"), nil)
		testkit.Must(t, err)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
		res, err := client.Do(req)
		testkit.Must(t, err)
		defer res.Body.Close()
		if res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("status %s", res.Status)
		}
		rw := res.Body.(io.ReadWriter)
		for range 3 {
			_, err = io.WriteString(rw, "ping")
			testkit.Must(t, err)
			expect(t, rw, "ping")
		}
		nc := s.dial(t)
		send(t, nc, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
		br := bufio.NewReader(nc)
		res, err = http.ReadResponse(br, req)
		testkit.Must(t, err)
		defer res.Body.Close()
		expect(t, br, "early")
	})
}

// Its handler stops when the client has gone.
func TestAnHTTPRequestIsCanceledWhenItsClientGoes(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		begun, ended := make(chan struct{}), make(chan error, 1)
		s, client := startHTTP(t, r, p, func(_ http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			close(begun)
			<-req.Context().Done()
			ended <- context.Cause(req.Context())
		})
		ctx, cancel := context.WithCancel(context.Background())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url("/"), bytes.NewReader(noise(1000)))
		testkit.Must(t, err)
		go func() {
			<-begun
			cancel()
		}()
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
			t.Error("the request was answered")
		}
		if err := testkit.Await(t, ended, "the end"); err == nil {
			t.Error("the context has no cause")
		}
	})
}
