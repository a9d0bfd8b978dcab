package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

func TestCurl(t *testing.T) {
	plain, secure := "http://"+start(t, handler(t)), "https://"+startTLS(t, handler(t))
	file := filepath.Join(t.TempDir(), "file")
	body := strings.Repeat("body\n", 100_000)
	testkit.Must(t, os.WriteFile(file, []byte(body), 0o600))
	for _, row := range []struct {
		name, want string
		args       []string
	}{
		{"HTTP/1.0", "HTTP/1.0", []string{"--http1.0", plain + "/proto"}},
		{"HTTP/1.1", "HTTP/1.1", []string{"--http1.1", plain + "/proto"}},
		{"HTTP/1.1 with TLS", "HTTP/1.1", []string{"--http1.1", secure + "/proto"}},
		{"HTTP/2", "HTTP/2.0", []string{"--http2", secure + "/proto"}},
		{"an upgrade to HTTP/2 is ignored", "HTTP/1.1", []string{"--http2", plain + "/proto"}},
		{"upload with Expect", body, []string{"-H", "Expect: 100-continue", "-T", file, plain + "/echo"}},
		{"upload without Expect", body, []string{"-H", "Expect:", "-T", file, plain + "/echo"}},
		{"chunked upload", body, []string{"-H", "Transfer-Encoding: chunked", "-T", file, plain + "/echo"}},
		{"chunked upload with Expect", body, []string{"-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue", "-T", file, plain + "/echo"}},
		{"upload with TLS", body, []string{"--http1.1", "-T", file, secure + "/echo"}},
		{"upload with HTTP/2", body, []string{"--http2", "-T", file, secure + "/echo"}},
		{"pieces", "piece 0\npiece 1\npiece 2\npiece 3\npiece 4\n", []string{plain + "/pieces"}},
		{"pieces in HTTP/1.0", "piece 0\npiece 1\npiece 2\npiece 3\npiece 4\n", []string{"--http1.0", plain + "/pieces"}},
		{"a range", content[100:201], []string{"-r", "100-200", plain + "/content"}},
		{"all of a file", content, []string{plain + "/content"}},
		{"keep-alive", "hello\n1 hello\n0 hello\n0 ", []string{"-w", "%{num_connects} ", plain + "/hello", plain + "/hello", plain + "/hello"}},
		{"keep-alive after a body", "1 0 ", []string{"-w", "%{num_connects} ", "-o", "/dev/null", "-o", "/dev/null", "-d", "x=y", plain + "/echo", plain + "/echo"}},
		{"HTTP/1.0 without keep-alive", "1 1 ", []string{"--http1.0", "-H", "Connection: close", "-w", "%{num_connects} ", "-o", "/dev/null", "-o", "/dev/null", plain + "/hello", plain + "/hello"}},
		{"the status of a file that is not changed", "304", []string{"-w", "%{http_code}", "-z", "Sun, 09 Sep 2001 01:46:40 GMT", plain + "/content"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := output(t, nil, "curl", append([]string{"-q", "-s", "-S", "-k", "--max-time", "20", "--noproxy", "*"}, row.args...)...); got != row.want {
				t.Errorf("curl prints %.200q (%d bytes), not %.200q (%d bytes)", got, len(got), row.want, len(row.want))
			}
		})
	}
	if head := output(t, nil, "curl", "-q", "-s", "-I", "--noproxy", "*", plain+"/content"); !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") || !strings.Contains(head, fmt.Sprintf("Content-Length: %d\r\n", len(content))) {
		t.Errorf("the response to HEAD is %q", head)
	}
}

// number returns the number in the first group of an expression.
func number(t *testing.T, text, expression string) string {
	t.Helper()
	found := regexp.MustCompile(expression).FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	return found[1]
}

func TestApacheBench(t *testing.T) {
	addr := start(t, handler(t))
	for _, path := range []string{"/hello", "/content"} {
		out := output(t, nil, "ab", "-q", "-k", "-n", "1000", "-c", "20", "http://"+addr+path)
		if failed, kept := number(t, out, `Failed requests: +(\d+)`), number(t, out, `Keep-Alive requests: +(\d+)`); failed != "0" || kept != "1000" || strings.Contains(out, "Non-2xx") {
			t.Errorf("%s: %s requests have failed, and %s of 1000 have used keep-alive:\n%s", path, failed, kept, out)
		}
	}
	if out := output(t, nil, "ab", "-q", "-n", "300", "-c", "20", "http://"+addr+"/hello"); number(t, out, `Failed requests: +(\d+)`) != "0" || number(t, out, `Complete requests: +(\d+)`) != "300" {
		t.Errorf("without keep-alive:\n%s", out)
	}
}

func TestWrk(t *testing.T) {
	addr := start(t, handler(t))
	script := filepath.Join(t.TempDir(), "pipeline.lua") // eight requests at a time, and one with a body
	testkit.Must(t, os.WriteFile(script, []byte(`
init = function(args)
  local r = {}
  for i = 1, 8 do r[i] = wrk.format(nil, "/hello") end
  r[9] = wrk.format("POST", "/echo", nil, "body")
  requests = table.concat(r)
end
request = function() return requests end
`), 0o600))
	for _, args := range [][]string{{}, {"-s", script}} {
		out := output(t, nil, "wrk", append(args, "-t", "1", "-c", "30", "-d", "1s", "http://"+addr+"/hello")...)
		if n := number(t, out, `(\d+) requests in`); n == "" || n == "0" || strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
			t.Errorf("wrk %v:\n%s", args, out)
		}
	}
}

func TestTheLoadGeneratorOfNghttp(t *testing.T) {
	plain, secure := "http://"+start(t, handler(t)), "https://"+startTLS(t, handler(t))
	for name, args := range map[string][]string{
		"HTTP/1.1":          {"--h1", plain + "/hello"},
		"HTTP/1.1 with TLS": {"--h1", secure + "/hello"},
		"HTTP/2":            {secure + "/hello"},
		"large HTTP/2":      {secure + "/content"},
	} {
		t.Run(name, func(t *testing.T) {
			out := output(t, nil, "h2load", append([]string{"-n", "500", "-c", "10", "-m", "5"}, args...)...)
			if got := number(t, out, `(\d+) succeeded, 0 failed, 0 errored, 0 timeout`); got != "500" || !strings.Contains(out, "status codes: 500 2xx") {
				t.Errorf("h2load prints\n%s", out)
			}
		})
	}
}

// script is a client in Python: requests of each kind on one connection.
const script = `
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1], timeout=20)
def ask(method, path, body=None, headers={}, **kw):
    c.request(method, path, body, headers, **kw)
    r = c.getresponse()
    return r.status, r.read(), r.getheader('X-Encoding')
assert ask('GET', '/hello') == (200, b'hello\n', None)
first = ask('GET', '/client')
assert ask('HEAD', '/content')[:2] == (200, b'')
assert ask('POST', '/echo', b'x' * 100000) == (200, b'x' * 100000, '')
def pieces():
    for i in range(100): yield b'y' * i
assert ask('POST', '/echo', pieces(), {'Transfer-Encoding': 'chunked'}, encode_chunked=True) == (200, b'y' * 4950, 'chunked')
assert ask('GET', '/pieces')[1].count(b'\n') == 5
assert ask('GET', '/content', headers={'Range': 'bytes=-16'})[:2] == (206, b'0123456789abcdef')
assert ask('GET', '/missing')[0] == 404
assert ask('GET', '/client') == first, 'another connection'
print('done')
`

func TestPythonsHTTPClient(t *testing.T) {
	if got := output(t, strings.NewReader(script), "python3", "-", start(t, handler(t))); got != "done\n" {
		t.Errorf("the script prints %q", got)
	}
}

func TestChromium(t *testing.T) {
	if !testkit.Foreign() {
		t.Skip("Chromium takes seconds to start, and is run with EVMQ_FOREIGN=1 only")
	}
	for name, url := range map[string]string{"HTTP/1.1": "http://" + start(t, handler(t)), "HTTP/2": "https://" + startTLS(t, handler(t))} {
		t.Run(name, func(t *testing.T) {
			dom := output(t, nil, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
				"--ignore-certificate-errors", "--user-data-dir="+t.TempDir(), "--virtual-time-budget=20000", "--dump-dom", url+"/page")
			if !strings.Contains(dom, `<p id="result">100000 6 2345 180</p>`) {
				t.Errorf("the document is %q", dom)
			}
		})
	}
}
