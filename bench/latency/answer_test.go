//go:build linux

package main

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAnswersOfHTTPEndByTheirLength, wherever they are split, also inside the empty line after the head.
func TestAnswersOfHTTPEndByTheirLength(t *testing.T) {
	answers := []string{
		"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 6\r\n\r\nhello\n",
		"HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-A: b\r\n\r\n\r\n\r\nabcd",
	}
	all := strings.Join(answers, "")
	for size := 1; size <= len(all); size++ {
		var a answer
		var got []string
		begin := 0
		for i := 0; i < len(all); {
			piece := []byte(all[i:min(i-i%size+size, len(all))]) // the rest of a piece of this size
			n, done, err := a.take(piece, nil, true)
			if err != nil || n == 0 {
				t.Fatalf("pieces of %d: %d bytes were taken: %v", size, n, err)
			}
			if i += n; done {
				got = append(got, all[begin:i])
				begin, a = i, answer{head: a.head}
			}
		}
		if !slices.Equal(got, answers) {
			t.Errorf("pieces of %d: the answers are %q", size, got)
		}
	}
}

// TestAnswersWhoseEndIsNotKnownAreErrors, and those of another status.
func TestAnswersWhoseEndIsNotKnownAreErrors(t *testing.T) {
	for data, want := range map[string]string{
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":               "want the status 200",
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n":                      "want the status 200",
		"HTTP/1.1 200 OK\r\n\r\n":                                           "no Content-Length",
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n":                      `Content-Length: x`,
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n": `Content-Length: 1`,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":             "in chunks",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n": "closes the connection",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead):             "exceeds",
		"hello\r\n\r\n": "want the status 200",
	} {
		var a answer
		if _, done, err := a.take([]byte(data), nil, true); err == nil || done || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: the error is %v and does not contain %q", data, err, want)
		}
	}
}

// TestRequestsOfHTTPAreMeasured, quick and slow ones, with bodies of different lengths.
func TestRequestsOfHTTPAreMeasured(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 1
		if r.URL.Path == "/slow" {
			n = 1500
		}
		w.Write(make([]byte, n))
	})}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	for _, conns := range []int{1, 20} {
		p := load(1000, 200*time.Millisecond)
		p.conns, p.slow = conns, 0.3
		if err := (&requestFlags{size: 1, framing: "http", path: "/quick", work: "/slow"}).apply(&p); err != nil {
			t.Fatal(err)
		}
		r := expect(t, p, ln.Addr().String(), 200)
		if r.unanswered != 0 || len(r.latencies[slow]) == 0 || len(r.latencies[quick]) == 0 {
			t.Errorf("%d connections: %d quick and %d slow requests, %d without an answer", conns, len(r.latencies[quick]), len(r.latencies[slow]), r.unanswered)
		}
	}
}
