// Nbhttp is an HTTP server on github.com/lesismal/nbio/nbhttp.
package main

import (
	"log"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"

	"github.com/evmq/evmq/bench/internal/httppeer"
	"github.com/evmq/evmq/bench/internal/peer"
)

func main() {
	o := httppeer.Parse(peer.Placement)
	logging.SetLevel(logging.LevelError)
	logging.Output = log.Writer()
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: []string{o.Addr}, NPoller: o.Loops, Handler: &httppeer.Handler{File: o.File, SetsLength: true},
	})
	if err := engine.Start(); err != nil {
		log.Fatal(err)
	}
	peer.Listening(address(engine.Addrs[0]))
	select {}
}

type address string

func (a address) String() string { return string(a) }
