// Net is an HTTP server on package net/http of the standard library.
package main

import (
	"log"
	"net"
	"net/http"
	"time"

	"github.com/evmq/evmq/bench/internal/httppeer"
	"github.com/evmq/evmq/bench/internal/peer"
)

func main() {
	o := httppeer.Parse(peer.Loops, peer.Placement)
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		log.Fatal(err)
	}
	peer.Listening(ln.Addr())
	// The timeouts are those that httpd has by default: a server without them is not what users run.
	s := &http.Server{Handler: &httppeer.Handler{File: o.File}, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 3 * time.Minute}
	log.Fatal(s.Serve(ln))
}
