// Httphello is an HTTP server that responds to each request with "hello\n". A program of net/http that calls http.Serve needs no other change.
//
//	go run ./examples/httphello
//	curl -i http://127.0.0.1:8080/    # in another terminal
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/evmq/evmq/httpd"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	flag.Parse()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", l.Addr())
	log.Fatal(httpd.Serve(l, http.HandlerFunc(hello)))
}

func hello(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "hello\n") // fails if the client is gone
}
