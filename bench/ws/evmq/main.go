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

var group wspeer.Group[*websocket.Conn]

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
	for _, path := range []wspeer.Path{wspeer.Echo, wspeer.Sub} {
		if handlers[path], err = handler(path, placement); err != nil {
			log.Fatal(err)
		}
	}
	upgrade := func(w http.ResponseWriter, r *http.Request, path wspeer.Path) {
		if h := handlers[path]; h != nil {
			h.ServeHTTP(w, r)
		} else {
			http.NotFound(w, r)
		}
	}
	s := &httpd.Server{Handler: &wspeer.Handler{Upgrade: upgrade, Broadcast: broadcast}, NumLoops: o.Loops, Placement: placement}
	log.Fatal(s.Serve(ln))
}

func handler(path wspeer.Path, placement server.Placement) (http.Handler, error) {
	cfg := &websocket.Config{Placement: placement, MaxMessage: wspeer.MaxMessage, Message: func(w websocket.Reply, kind websocket.MessageType, p []byte) {
		_ = w.WriteMessage(kind, p) // the client may be gone
	}}
	if path == wspeer.Sub {
		cfg.Message = func(websocket.Reply, websocket.MessageType, []byte) {}
		cfg.Opened = func(c *websocket.Conn, _ *http.Request) { group.Add(c) }
		cfg.Closed = func(c *websocket.Conn, _ *websocket.CloseError) { group.Remove(c) }
	}
	return websocket.NewHandler(cfg)
}

func broadcast(message []byte, n int) int {
	return group.Send(func(all []*websocket.Conn) {
		for range n {
			for _, c := range all {
				_ = c.WriteBinary(message) // the client may be gone
			}
		}
	})
}
