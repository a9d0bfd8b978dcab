package difftest_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

// body is the rest of a forged request after its first line, and a request whose answer shows that the connection is open.
const body = "Host: cache\r\n\r\nset forged 0 0 4\r\nevil\r\ncache_memlimit 1\r\n"

// closes sends a line and body. It returns the answers up to that to the last request, and whether the server has closed the connection instead.
func closes(t *testing.T, d *daemon, line string) (answer string, closed bool) {
	t.Helper()
	nc, err := net.Dial("tcp", d.addr)
	testkit.Must(t, err)
	defer nc.Close()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	_, err = io.WriteString(nc, line+"\r\n"+body)
	testkit.Must(t, err)
	p := make([]byte, 64<<10)
	for !strings.HasSuffix(answer, " less than 8m\r\n") {
		n, err := nc.Read(p)
		answer += string(p[:n])
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				t.Fatalf("%s: %q: neither an answer nor an end after %q", d.name, line, answer)
			}
			return answer, true
		}
	}
	return answer, false
}

// TestHTTPIsClosedWhereverMemcachedClosesIt, and at each line of three words or more that ends in HTTP/1.x, too. All other lines are
// answered as memcached answers them.
func TestHTTPIsClosedWhereverMemcachedClosesIt(t *testing.T) {
	t.Parallel()
	reference, ours := startMemcached(t), startEvcached(t)
	methods := strings.Fields("GET POST PUT HEAD DELETE OPTIONS TRACE PATCH CONNECT PRI FOO post Post head put options patch Get get gets gat gats bget " +
		"delete trace connect search set add append cas incr touch decr stats slabs version verbosity flush_all quit lru watch mg ms md ma mx me mn MG X x " +
		"cache_memlimit lru_crawler refresh_certs extstore shutdown abc def " + strings.Repeat("LONG", 100) + " " + strings.Repeat("aa", 200))
	for _, method := range methods {
		for _, rest := range []string{" / HTTP/1.1", " / HTTP/1.0", " HTTP/1.1", " / HTTP/2.0", " / HTTP/", " / http/1.1", " / HTTP/1.1 x", " /a b c HTTP/1.1", " / HTTP/1.1 "} {
			line := method + rest
			want, closedThere := closes(t, reference, line)
			got, closedHere := closes(t, ours, line)
			words := strings.Fields(line)
			last := words[len(words)-1]
			request := len(words) > 2 && strings.HasPrefix(last, "HTTP/1.")
			unknown := strings.HasPrefix(want, "ERROR\r\n") && strings.HasPrefix(last, "HTTP/")
			switch {
			case closedThere && !closedHere:
				t.Errorf("%q: it is answered with %q, and memcached closes", line, got)
			case request && (!closedHere || got != ""):
				t.Errorf("%q: it is answered with %q, and is an HTTP request", line, got)
			case closedHere && !closedThere && !request && !unknown:
				t.Errorf("%q: it is closed, and memcached answers %q", line, want)
			case !closedHere && got != want:
				t.Errorf("%q: it is answered with %q, and memcached answers %q", line, got, want)
			}
			answer, err := difftest.Stream(ours.addr, []byte("delete forged\r\n"), 1<<10)
			testkit.Must(t, err)
			if closedHere && string(answer) != "NOT_FOUND\r\n" {
				t.Errorf("%q: what stands behind it is executed", line)
			}
		}
	}
}
