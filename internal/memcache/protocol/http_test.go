package protocol_test

import (
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// TestTheFirstLineOfAnHTTPRequestIsRecognized with any method, and no command with a key of that name is mistaken for one.
func TestTheFirstLineOfAnHTTPRequestIsRecognized(t *testing.T) {
	var r protocol.Request
	for _, method := range []string{"GET", "get", "POST", "Post", "delete", "set", "mg", "version", "X", strings.Repeat("a", 300)} {
		for _, rest := range []string{" / HTTP/1.1", " / HTTP/1.0", " / HTTP/1.1  ", "  http://host:1/a?b  HTTP/1.1", " /a b HTTP/1.1", " " + strings.Repeat("/", 5000) + " HTTP/1.1"} {
			if line := method + rest; protocol.Text([]byte(line), &r) != protocol.HTTP {
				t.Errorf("%.80q is not taken for HTTP", line)
			}
		}
	}
	// Without a target, or with another version, unknown commands are refused as memcached refuses them.
	for _, line := range []string{"POST HTTP/1.1", "HTTP/1.1", "PRI * HTTP/2.0", "foo HTTP/", "POST " + strings.Repeat("a ", 21) + "HTTP/1.1 b c"} {
		if protocol.Text([]byte(line), &r) != protocol.HTTP {
			t.Errorf("%q is not taken for HTTP", line)
		}
	}
	for _, line := range []string{
		"", " ", "HTTP", "get HTTP/1.1", "delete HTTP/1.1", "get  HTTP/1.1", "  get HTTP/1.1 ", "mg HTTP/1.1", "get a HTTP/1.1 b", "set HTTP/1.1 0 0 1", "POST / http/1.1", "POST / xHTTP/1.1",
		"get / HTTP/1.", "get / HTTP/1.x", "POST\t/\tHTTP/1.1", "get a b HTTP/2.0", " HTTP/1.1 foo bar",
	} {
		if protocol.Text([]byte(line), &r) == protocol.HTTP {
			t.Errorf("%q is taken for HTTP", line)
		}
	}
}
