// Evmq is a WebSocket server on package httpd/websocket of this repository, with the flags of its peers.
package main

import (
	"log"
	"net"
	"net/http"

	"github.com/evmq/evmq/bench/internal/peer"
	"github.com/evmq/evmq/bench/internal/wspeer"
	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/server"
)

// placements are the values of -placement.
var placements = map[string]server.Placement{"": server.Adaptive, "adaptive": server.Adaptive, "loop": server.OnLoop, "workers": server.OnWorkers}

// group keeps sockets that do not read, as those of the other servers are kept.
var group = websocket.NewGroup(&websocket.GroupConfig{KeepSlow: true})

func main() {
	o := wspeer.Parse()
	placement, known := placements[o.Placement]
	if !known {
		log.Fatalf("unknown -placement %s", o.Placement)
	}
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		log.Fatal(err)
	}
	peer.Listening(ln.Addr())
	handlers := make(map[wspeer.Path]http.Handler)
	for _, path := range []wspeer.Path{wspeer.Echo, wspeer.Deflate, wspeer.Sub} {
		if handlers[path], err = handler(path, placement); err != nil {
			log.Fatal(err)
		}
	}
	upgrade := func(w http.ResponseWriter, r *http.Request, path wspeer.Path) { handlers[path].ServeHTTP(w, r) }
	s := &httpd.Server{Handler: &wspeer.Handler{Upgrade: upgrade, Broadcast: broadcast}, NumLoops: o.Loops, Placement: placement}
	log.Fatal(s.Serve(ln))
}

func handler(path wspeer.Path, placement server.Placement) (http.Handler, error) {
	cfg := &websocket.Config{Placement: placement, MaxMessage: wspeer.MaxMessage, Deflate: path == wspeer.Deflate, Message: func(w websocket.Reply, kind websocket.MessageType, p []byte) {
		_ = w.WriteMessage(kind, p) // the client may be gone
	}}
	if path == wspeer.Sub {
		cfg.Message = func(websocket.Reply, websocket.MessageType, []byte) {}
		cfg.Opened = func(c *websocket.Conn, _ *http.Request) { _ = group.Add(c) } // fails if it has ended
	}
	return websocket.NewHandler(cfg)
}

func broadcast(message []byte, n int) int {
	m, err := websocket.Prepare(websocket.Binary, message)
	if err != nil {
		log.Print(err)
		return 0
	}
	sockets := group.Len()
	for range n {
		group.Broadcast(m, nil) // the refusals are those of sockets that are gone, or do not read
	}
	return sockets
}
