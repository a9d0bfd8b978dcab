package httpd

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

// hello responds as examples/httphello does.
var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") })

// helloLength is the length of its response.
const helloLength = 122

// BenchmarkHello measures a request and its response, with the client's work, which allocates nothing: so allocs/op are the server's.
func BenchmarkHello(b *testing.B) {
	for _, name := range []string{"httpd", "net/http"} {
		b.Run(name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			if name == "httpd" {
				s := &Server{Handler: hello, NumLoops: 1}
				go func() { _ = s.Serve(l) }() // until Close
				defer func() { _ = s.Close() }()
			} else {
				s := &http.Server{Handler: hello} //nolint:gosec // the client is ours
				go func() { _ = s.Serve(l) }()    // until Close
				defer func() { _ = s.Close() }()
			}
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = nc.Close() }() // the benchmark is over
			request := []byte("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
			response := make([]byte, helloLength)
			r := bufio.NewReader(nc)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := nc.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(r, response); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
