package http1

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// parse parses the first head of input, which has to be complete.
func parse(input string) (*http.Request, error) {
	found, err := Framing{MaxHead: 1 << 20}.Next([]byte(input), 0, true)
	if err != nil {
		return nil, err
	}
	if found.Message == nil {
		return nil, badRequest("empty")
	}
	req := &http.Request{URL: new(url.URL)}
	if err := ParseRequest(string(found.Message), req); err != nil {
		return nil, err
	}
	return req, nil
}

func TestParseRequestSetsWhatNetHTTPSets(t *testing.T) {
	for _, input := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /a/b?c=d&e HTTP/1.1\r\nHost: a:80\r\nX-A: 1\r\nx-a: 2\r\nEmpty:\r\nSpaces: \t v \t\r\n\r\n",
		"GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: A, b\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: h\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\nPragma: no-cache\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: clo\u017fe\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\nConnection: \u212aeep-alive\r\n\r\n", // letters that Unicode folds
		"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /%41%2f?%20 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		"GET /\xff HTTP/1.1\r\nHost: a\r\nB: \xff\r\n\r\n",
		"GET /a-b_c.d~e/? HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a?b?c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a?%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", "GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		got, err := parse(input)
		if err != nil {
			t.Errorf("%q: %v", input, err)
			continue
		}
		want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(input)))
		if err != nil {
			t.Fatalf("%q: net/http: %v", input, err)
		}
		checkEqual(t, input, got, want)
	}
}

// checkEqual compares the fields that ParseRequest sets.
func checkEqual(t *testing.T, input string, got, want *http.Request) {
	t.Helper()
	a := []any{got.Method, got.RequestURI, got.URL, got.Proto, got.ProtoMajor, got.ProtoMinor, got.Header, got.Host, got.ContentLength, got.TransferEncoding, got.Close, got.Trailer}
	b := []any{want.Method, want.RequestURI, want.URL, want.Proto, want.ProtoMajor, want.ProtoMinor, want.Header, want.Host, want.ContentLength, want.TransferEncoding, want.Close, want.Trailer}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%q\nis parsed as  %+v\nby net/http as %+v", input, a, b)
	}
}

func TestRefusedRequestsHaveAStatus(t *testing.T) {
	for _, c := range []struct {
		input string
		want  int
	}{
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
		{"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
		{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 501},
		{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 501},
		{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun\u212aed\r\n\r\n", 501}, // the Kelvin sign
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 431},
		{strings.Repeat("a", 1<<20+1), 431},
		{"\n", 400}, {"\r\n\n", 400}, {"GET / HTTP/1.1\r\nHost: a", 400}, {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
	} {
		var refused *StatusError
		if _, err := parse(c.input); !errors.As(err, &refused) || refused.Status != c.want {
			t.Errorf("%.100q: %v, want status %d", c.input, err, c.want)
		}
	}
}

// A head that arrives in pieces, however it is cut, is found as one that arrives at once.
func TestAHeadMayArriveInPieces(t *testing.T) {
	const input = "\r\nGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nrest"
	f := Framing{MaxHead: 100}
	want := len(input) - len("rest")
	cursor := 0
	for n := range len(input) + 1 {
		found, err := f.Next([]byte(input[:n]), cursor, false)
		if err != nil || (found.Message != nil) != (n >= want) {
			t.Fatalf("with %d bytes: %q, %v", n, found.Message, err)
		}
		if found.Message != nil {
			if found.Advance != want || string(found.Message) != input[:want] {
				t.Fatalf("with %d bytes: %+v", n, found)
			}
			return
		}
		cursor = found.Cursor
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f.Add("POST /a?b HTTP/1.0\r\nContent-Length: 3\r\nA: b\r\nA: c\r\n\r\nabc")
	f.Add("POST http://x/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: B\r\nConnection: close\r\n\r\n0\r\n\r\n")
	f.Add("GET /a-b_c.d~e/f?g=h?%41 HTTP/1.1\r\nHost: a\r\n\r\n")
	f.Add("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nPragma: no-cache\r\n\r\n")
	f.Fuzz(func(t *testing.T, input string) {
		got, err := parse(input)
		if err != nil {
			var refused *StatusError
			if !errors.As(err, &refused) || refused.Status < 400 {
				t.Errorf("%q: %v", input, err)
			}
			return
		}
		want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimPrefix(input, "\r\n"))))
		if err != nil { // what is accepted, net/http accepts, too
			t.Fatalf("%q is accepted, and refused by net/http: %v", input, err)
		}
		checkEqual(t, input, got, want)
	})
}
