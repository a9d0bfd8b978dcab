package httpd

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// choices makes decisions from the bytes of a fuzz target's input. When there are no more, each decision is the first.
type choices struct{ data []byte }

// n returns a number below limit.
func (c *choices) n(limit int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return int(b) % limit
}

// of returns one of the values.
func (c *choices) of(values ...string) string { return values[c.n(len(values))] }

// more reports whether there are bytes left.
func (c *choices) more() bool { return len(c.data) > 0 }

// request returns a request that both servers accept or refuse alike, and its method.
func (c *choices) request() (text, method string) {
	var b strings.Builder
	method = c.of("GET", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "M-SEARCH")
	target := c.of("/describe", "/empty", "/size?n=3000", "/pieces", "/large", "/length?n=10", "/length?n=20", "/trailer", "/html", "/close", "/early", "/readpart", "/closebody",
		"/status?code=204", "/status?code=304", "/status?code=500", "/describe?a=%20&b", "/describe%2fx", "//describe", "http://h/describe", "*", "/missing", "/content", "/redirect", "/panicfirst")
	version := c.of("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1", "http/1.1")
	fmt.Fprintf(&b, "%s %s %s\r\n", method, target, version)
	if !strings.HasSuffix(version, "0") || c.n(2) == 0 {
		b.WriteString(c.of("Host: x\r\n", "Host: x\r\n", "host:x:80 \r\n", "Host:\r\n", "Host: a/b\r\n", ""))
	}
	for range c.n(4) {
		b.WriteString(c.of("A: b\r\n", "A:\t c \r\n", "x-y-Z: \xff\r\n", "Connection: close\r\n", "Connection: keep-alive\r\n", "Connection: x, Close\r\n", "Expect: 100-continue\r\n",
			"Expect: x\r\n", "Range: bytes=1-2\r\n", "Cookie: a=b\r\n", "Pragma: no-cache\r\n", "Accept-Encoding: gzip\r\n", "A b: c\r\n", "A: \x01\r\n", ": x\r\n", "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n", "Upgrade: x\r\n"))
	}
	c.body(&b, version)
	return b.String(), method
}

// body adds the fields that announce a body, and the body.
func (c *choices) body(b *strings.Builder, version string) {
	content := "ghijklmnopqrstuv"[:c.n(17)] // exchangeRaw replaces hexadecimal digits
	if c.n(16) == 15 {
		content = strings.Repeat(content, 20000)
	}
	switch kind := c.n(8); {
	case kind < 2:
		b.WriteString("\r\n")
	case kind < 5:
		fmt.Fprintf(b, "Content-Length: %d\r\n\r\n%s", len(content), content)
	case kind == 5:
		fmt.Fprintf(b, "Content-Length: %s\r\n\r\n%s", c.of("00", "005", "+5", "-1", "x", "", "5,5", "99999999999999999999", "5 "), content)
	case version == "HTTP/1.0": // its Transfer-Encoding is refused, and ignored by net/http
		b.WriteString("\r\n")
	default:
		b.WriteString(c.of("", "", "Trailer: T\r\n", "Trailer: T, U\r\n", "Trailer: Content-Length\r\n") + c.of("Transfer-Encoding: chunked", "Transfer-Encoding: Chunked ", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, x") + "\r\n\r\n")
		for len(content) > 0 {
			n := min(1+c.n(16), len(content))
			if len(content) > 1000 {
				n = len(content)
			}
			fmt.Fprintf(b, "%x%s\r\n%s\r\n", n, c.of("", "", ";a", ";a=b", ";a=\"b\"", "x"), content[:n])
			content = content[n:]
		}
		b.WriteString(c.of("0\r\n", "00\r\n", "0;e\r\n", "") + c.of("", "", "T: 1\r\n", "V: 2\r\nT: 1\r\n", "T\r\n") + c.of("\r\n", "\r\n", "\r\n", "x\r\n\r\n"))
	}
}

// FuzzConnection sends the same requests to both servers, and compares the responses field by field. After a change of a byte, or a cut, ours
// may refuse what net/http accepts.
func FuzzConnection(f *testing.F) {
	f.Add([]byte{}, uint16(0), byte(0))
	f.Add([]byte("\x01\x00\x00\x00\x02\x00\x01\x08\x00\x03abc\x00\x00\x00\x00"), uint16(0), byte(0))
	f.Add([]byte("\x01\x00\x00\x00\x00\x09\x00\x06\x00\x00\x05\x01\x05\x01\x00\x01\x00\x00\x01\x00\x00\x00"), uint16(0), byte(0))
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"), uint16(17), byte('\n'))
	theirs, ours := startPeers(f, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, err := strconv.ParseUint(req.URL.Query().Get("n"), 10, 16); err != nil && req.URL.Query().Get("n") != "" {
			http.NotFound(w, req) // with a Content-Length that is no number, net/http counts the body less often
			return
		}
		if req.URL.Path == "/panic" {
			http.NotFound(w, req) // how much is sent before a panic depends on buffers, and HTTP/1.0 does not tell where it ends
			return
		}
		serveByPath(w, req)
	}))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, change byte) {
		c := &choices{data}
		input, method := c.request()
		methods := []string{method}
		for range 4 {
			if c.more() {
				text, method := c.request()
				input, methods = input+text, append(methods, method)
			}
		}
		changed := at != 0 && int(at) < len(input) && !strings.Contains(input, "HEAD ") // whose responses could not be told from others
		if changed {
			if change == 0 {
				input = input[:at]
			} else {
				input = input[:at-1] + string([]byte{change}) + input[at:]
			}
		}
		if strings.Contains(input, "HTTP/1.0") && strings.Count(strings.ToLower(input), "connection:") > 1 {
			return // net/http looks at the first field for keep-alive, and does not look for close
		}
		got, want := fields(ours.exchangeRaw(t, input), methods), fields(theirs.exchangeRaw(t, input), methods)
		got, want = alike(got), alike(want)
		isCut := strings.HasPrefix(got, want) && strings.HasPrefix(got[len(want):], "refused") // fewer than four bytes at the end
		isKnown := slices.ContainsFunc(knownDifferences, func(d knownDifference) bool { return d.in.MatchString(input) && d.explains(got, want) })
		if !isCut && !sameResponses(got, want) && !isKnown && (!changed || !isStricter(got, want)) {
			t.Errorf("%q\nthe response of httpd is\n%s\nand that of net/http\n%s", brief(input), brief(got), brief(want))
		}
	})
}

// refused is the first line of a refusal. It names one of the faults of a request that has several.
var refused = regexp.MustCompile(`HTTP/1.1 (400|431|501|505) length -1 encoding \[\] close true`)

// saysClose10 is the field that says what is the rule in HTTP/1.0. net/http sends it with some responses.
var saysClose10 = regexp.MustCompile(`(HTTP/1\.0 .* close true\n)Connection: close\r?\n`)

// malformed is what the client reports of a response that has a body where it expects none, because the end of an earlier body has changed the
// method of a HEAD request. It includes the bytes after the body.
var malformed = regexp.MustCompile(`ERROR malformed HTTP .*`)

// alike removes what may differ: which fault of a request with several is named, and whether a body that ends early or is malformed is both.
func alike(responses string) string {
	responses = saysClose10.ReplaceAllString(responses, "$1")
	responses = malformed.ReplaceAllString(refused.ReplaceAllString(responses, "refused"), "ERROR")
	cut := strings.NewReplacer(`unexpected EOF\ntrailer`, `malformed\ntrailer`, "unexpected EOF 0 http", "malformed 0 http").Replace(responses)
	if strings.Contains(cut, `malformed\ntrailer`) || strings.Contains(cut, "malformed 0 http") {
		return lengths.ReplaceAllString(cut, "")
	}
	return responses
}

// A knownDifference is one that the package documentation lists, apart from the stricter ones, which isStricter knows.
type knownDifference struct {
	name     string
	in       *regexp.Regexp                 // in the input
	explains func(ours, theirs string) bool // whether nothing else differs
}

var knownDifferences = []knownDifference{
	{
		"Close reads nothing of a body whose client waits for 100 Continue", regexp.MustCompile(`(?is)/closebody.*expect:`),
		func(ours, theirs string) bool {
			return sameResponses(lengths.ReplaceAllString(closed.ReplaceAllString(ours, ""), ""), lengths.ReplaceAllString(closed.ReplaceAllString(theirs, ""), ""))
		},
	},
	{"one empty line before a request is ignored", regexp.MustCompile(`\r\n\r\n\r\n`), isLaxer},
	{"spaces before a chunk extension are ignored", regexp.MustCompile(`(?i)\n[0-9a-f]+[ \t]+;`), isLaxer},
}

var closed = regexp.MustCompile(`(<nil>|malformed|unexpected EOF) 0 http: invalid Read on closed Body`)

// isLaxer reports whether the responses are alike up to a refusal of net/http, which is the last.
func isLaxer(ours, theirs string) bool { return isStricter(theirs, ours) }

// lengths is the lengths of responses.
var lengths = regexp.MustCompile(` length \d+|Content-Length: \d+`)

// isStricter reports whether the responses are alike up to a refusal of ours, which is the last.
func isStricter(ours, theirs string) bool {
	if strings.HasPrefix(theirs, strings.TrimSuffix(strings.Replace(ours, "close true", "close false", 1), "\n")) {
		return true // the body of a request was refused after its response
	}
	keep := strings.NewReplacer("close true", "close false") // net/http takes part of a malformed Connection for close
	a, b := strings.SplitAfter(keep.Replace(ours), "\ntrailer "), strings.SplitAfter(keep.Replace(theirs), "\ntrailer ")
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return i == min(len(a), len(b)) || slices.ContainsFunc(a[i:], func(s string) bool {
		return strings.Contains(s, "refused") || strings.Contains(s, `malformed\ntrailer`)
	})
}
