// Nbio is a WebSocket server on github.com/lesismal/nbio/nbhttp and its package websocket.
package main

import (
	"log"
	"net/http"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/evmq/evmq/bench/internal/peer"
	"github.com/evmq/evmq/bench/internal/wspeer"
)

var group wspeer.Group[*websocket.Conn]

func main() {
	o := wspeer.Parse(peer.Placement)
	logging.SetLevel(logging.LevelError)
	logging.Output = log.Writer()
	upgraders := make(map[wspeer.Path]*websocket.Upgrader)
	upgrade := func(w http.ResponseWriter, r *http.Request, path wspeer.Path) {
		if _, err := upgraders[path].Upgrade(w, r, nil); err != nil {
			log.Print(err)
		}
	}
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: []string{o.Addr}, NPoller: o.Loops, Handler: &wspeer.Handler{Upgrade: upgrade, Broadcast: broadcast},
		ReleaseWebsocketPayload: true, // the buffer of a message goes back to a pool
	})
	for _, path := range []wspeer.Path{wspeer.Echo, wspeer.Deflate, wspeer.Sub} {
		upgraders[path] = upgrader(engine, path)
	}
	if err := engine.Start(); err != nil {
		log.Fatal(err)
	}
	peer.Listening(address(engine.Addrs[0]))
	select {}
}

func upgrader(engine *nbhttp.Engine, path wspeer.Path) *websocket.Upgrader {
	u := websocket.NewUpgrader()
	u.Engine = engine
	u.MessageLengthLimit = wspeer.MaxMessage
	u.EnableCompression(path == wspeer.Deflate)
	if path == wspeer.Sub {
		u.OnOpen(group.Add)
		u.OnClose(func(c *websocket.Conn, _ error) { group.Remove(c) })
		u.OnMessage(func(*websocket.Conn, websocket.MessageType, []byte) {})
		return u
	}
	u.OnOpen(func(c *websocket.Conn) { c.EnableWriteCompression(path == wspeer.Deflate) })
	u.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, message []byte) {
		_ = c.WriteMessage(kind, message) // the client may be gone
	})
	return u
}

func broadcast(message []byte, n int) int {
	return group.Send(func(all []*websocket.Conn) {
		wspeer.AtOnce(all, func(c *websocket.Conn) {
			for range n {
				if err := c.WriteMessage(websocket.BinaryMessage, message); err != nil {
					return // the client is gone
				}
			}
		})
	})
}

type address string

func (a address) String() string { return string(a) }
