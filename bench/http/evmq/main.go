// Evmq is an HTTP server on package httpd of this repository, with the flags of its peers.
package main

import (
	"log"
	"net"

	"github.com/evmq/evmq/bench/internal/httppeer"
	"github.com/evmq/evmq/bench/internal/peer"
	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/server"
)

// placements are the values of -placement.
var placements = map[string]server.Placement{"": server.Adaptive, "adaptive": server.Adaptive, "loop": server.OnLoop, "workers": server.OnWorkers}

func main() {
	o := httppeer.Parse()
	placement, known := placements[o.Placement]
	if !known {
		log.Fatalf("unknown -placement %s", o.Placement)
	}
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		log.Fatal(err)
	}
	peer.Listening(ln.Addr())
	s := &httpd.Server{Handler: &httppeer.Handler{File: o.File}, NumLoops: o.Loops, Placement: placement}
	log.Fatal(s.Serve(ln))
}
