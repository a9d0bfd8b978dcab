package interop_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// nginxConfig is the configuration of an nginx that listens on DIR/socket and passes requests to ADDR, on connections that it keeps.
const nginxConfig = `
daemon off;
master_process off;
pid DIR/pid;
error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  client_max_body_size 0;
  upstream backend { server ADDR; keepalive 4; }
  map $http_upgrade $upstream_connection { default upgrade; '' ''; }
  server {
    listen unix:DIR/socket;
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Connection $upstream_connection;
      proxy_set_header Upgrade $http_upgrade;
    }
    location /old/ { proxy_pass http://backend/; proxy_http_version 1.0; }
  }
}
`

// haproxyConfig is that of a haproxy.
const haproxyConfig = `
global
  maxconn 256
defaults
  mode http
  timeout connect 10s
  timeout client 30s
  timeout server 30s
  timeout tunnel 30s
  http-reuse always
frontend front
  bind unix@DIR/socket
  default_backend back
backend back
  server evmq ADDR
`

// startProxy starts a proxy before the server, and returns a client whose connections are to the proxy, and a function that dials it.
func startProxy(t *testing.T, name, config string, args ...string) (client *http.Client, dial func() net.Conn) {
	t.Helper()
	testkit.Program(t, name)
	dir, err := os.MkdirTemp("", "evmq") // a short path, as a socket needs it
	testkit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // after the proxy's end
	replace := strings.NewReplacer("DIR", dir, "ADDR", start(t, handler(t)))
	file, socket := filepath.Join(dir, "config"), filepath.Join(dir, "socket")
	testkit.Must(t, os.WriteFile(file, []byte(replace.Replace(config)), 0o600))
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "DIR", dir)
	}
	background(t, socket, name, args...)
	transport := &http.Transport{MaxIdleConnsPerHost: 8, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: testkit.Patience}, func() net.Conn {
		nc, err := net.Dial("unix", socket)
		testkit.Must(t, err)
		t.Cleanup(func() { _ = nc.Close() }) // the test is over
		testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
		return nc
	}
}

func TestNginxInFront(t *testing.T) {
	client, dial := startProxy(t, "nginx", nginxConfig, "-p", "DIR", "-c", "DIR/config")
	testProxy(t, client, dial)
	if status, body := ask(t, client, http.MethodGet, "/old/proto", nil); status != http.StatusOK || body != "HTTP/1.0" {
		t.Errorf("HTTP/1.0 to the server: %d, %q", status, body)
	}
	if _, body := ask(t, client, http.MethodGet, "/old/pieces", nil); strings.Count(body, "\n") != 5 {
		t.Errorf("pieces in HTTP/1.0: %q", body)
	}
}

func TestHAProxyInFront(t *testing.T) {
	client, dial := startProxy(t, "haproxy", haproxyConfig, "-db", "-f", "DIR/config")
	testProxy(t, client, dial)
}

// ask makes a request, and returns the status and the body of the response.
func ask(t *testing.T, client *http.Client, method, path string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://proxy"+path, body)
	testkit.Must(t, err)
	resp, err := client.Do(req)
	testkit.Must(t, err)
	defer func() { _ = resp.Body.Close() }() // it was read
	text, err := io.ReadAll(resp.Body)
	testkit.Must(t, err)
	return resp.StatusCode, string(text)
}

// testProxy makes requests of each kind through a proxy.
func testProxy(t *testing.T, client *http.Client, dial func() net.Conn) {
	t.Helper()
	t.Run("requests share a connection to the server", func(t *testing.T) {
		addrs := make(map[string]bool)
		for range 20 {
			_, addr := ask(t, client, http.MethodGet, "/client", nil)
			addrs[addr] = true
		}
		if len(addrs) > 4 {
			t.Errorf("20 requests have used the connections %v", addrs)
		}
	})
	t.Run("bodies", func(t *testing.T) {
		for range 3 {
			for name, body := range map[string]io.Reader{
				"with a length": strings.NewReader(content), "chunked": io.MultiReader(strings.NewReader(content)), "none": nil, "empty": strings.NewReader(""),
			} {
				want := content
				if name == "none" || name == "empty" {
					want = ""
				}
				if status, got := ask(t, client, http.MethodPost, "/echo", body); status != http.StatusOK || got != want {
					t.Errorf("%s: the response is %d with %d bytes", name, status, len(got))
				}
			}
		}
	})
	t.Run("responses", func(t *testing.T) {
		if _, body := ask(t, client, http.MethodGet, "/pieces", nil); strings.Count(body, "\n") != 5 {
			t.Errorf("in pieces: %q", body)
		}
		if _, body := ask(t, client, http.MethodGet, "/content", nil); body != content {
			t.Errorf("a long one has %d bytes", len(body))
		}
		if status, body := ask(t, client, http.MethodHead, "/content", nil); status != http.StatusOK || body != "" {
			t.Errorf("to HEAD: %d, %q", status, body)
		}
	})
	t.Run("a chunked body passes while it is sent", func(t *testing.T) {
		nc := dial()
		r := bufio.NewReader(nc)
		fmt.Fprint(nc, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n") // the response shows it
		for i := range 10 {
			fmt.Fprintf(nc, "2\r\n%d\n\r\n", i) // as above
			time.Sleep(time.Millisecond)        // so that the pieces arrive separately
		}
		fmt.Fprint(nc, "0\r\n\r\n") // as above
		resp, err := http.ReadResponse(r, nil)
		testkit.Must(t, err)
		defer func() { _ = resp.Body.Close() }() // it was read
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n" {
			t.Errorf("the response is %q, %v", body, err)
		}
	})
	t.Run("an upgrade", func(t *testing.T) { testUpgrade(t, dial()) })
}

// testUpgrade upgrades a connection, and uses it.
func testUpgrade(t *testing.T, nc net.Conn) {
	t.Helper()
	r := bufio.NewReader(nc)
	fmt.Fprint(nc, "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n") // the response shows it
	resp, err := http.ReadResponse(r, nil)                                                             //nolint:bodyclose // the connection is closed
	testkit.Must(t, err)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the response is %v", resp.Status)
	}
	for i := range 20 {
		line := fmt.Sprintf("line %d\n", i)
		_, _ = io.WriteString(nc, line) // as above
		if got, err := r.ReadString('\n'); err != nil || got != line {
			t.Fatalf("the echo of %q is %q, %v", line, got, err)
		}
	}
}
