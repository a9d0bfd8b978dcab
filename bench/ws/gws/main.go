// Gws is a WebSocket server on net/http and github.com/lxzan/gws.
package main

import (
	"log"
	"net"
	"net/http"
	"time"

	"github.com/lxzan/gws"

	"github.com/evmq/evmq/bench/internal/peer"
	"github.com/evmq/evmq/bench/internal/wspeer"
)

// A handler has the callbacks of the sockets of a path.
type handler struct {
	gws.BuiltinEventHandler
	path wspeer.Path
}

func (h *handler) OnOpen(c *gws.Conn) {
	if h.path == wspeer.Sub {
		group.Add(c)
	}
}

func (h *handler) OnClose(c *gws.Conn, _ error) {
	if h.path == wspeer.Sub {
		group.Remove(c)
	}
}

func (h *handler) OnPing(c *gws.Conn, payload []byte) {
	_ = c.WritePong(payload) // the client may be gone, which the next read reports
}

func (h *handler) OnMessage(c *gws.Conn, message *gws.Message) {
	defer func() { _ = message.Close() }() // its buffer goes back to a pool
	if h.path != wspeer.Sub {
		_ = c.WriteMessage(message.Opcode, message.Bytes()) // as above
	}
}

var group wspeer.Group[*gws.Conn]

func main() {
	o := wspeer.Parse(peer.Loops, peer.Placement)
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		log.Fatal(err)
	}
	peer.Listening(ln.Addr())
	upgraders := make(map[wspeer.Path]*gws.Upgrader)
	for _, path := range []wspeer.Path{wspeer.Echo, wspeer.Deflate, wspeer.Sub} {
		upgraders[path] = gws.NewUpgrader(&handler{path: path}, &gws.ServerOption{PermessageDeflate: gws.PermessageDeflate{Enabled: path == wspeer.Deflate}})
	}
	// The socket is left to a goroutine, so that what net/http needs for the request is freed.
	upgrade := func(w http.ResponseWriter, r *http.Request, path wspeer.Path) {
		c, err := upgraders[path].Upgrade(w, r)
		if err != nil {
			log.Print(err)
			return
		}
		go c.ReadLoop()
	}
	s := &http.Server{Handler: &wspeer.Handler{Upgrade: upgrade, Broadcast: broadcast}, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 3 * time.Minute}
	log.Fatal(s.Serve(ln))
}

// broadcast returns before all is written: the library has a queue for each socket.
func broadcast(message []byte, n int) int {
	return group.Send(func(all []*gws.Conn) {
		for range n {
			b := gws.NewBroadcaster(gws.OpcodeBinary, message)
			for _, c := range all {
				_ = b.Broadcast(c) // the client may be gone
			}
			_ = b.Close() // it waits for nothing
		}
	})
}
