// Gorilla is a WebSocket server on net/http and github.com/gorilla/websocket.
package main

import (
	"bytes"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/evmq/evmq/bench/internal/peer"
	"github.com/evmq/evmq/bench/internal/wspeer"
)

// buffers has a buffer for the message that a goroutine answers, so that idle sockets have none.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

var group wspeer.Group[*websocket.Conn]

// The buffer of net/http's reader is used for reading, and one of a pool for writing.
var (
	plain      = websocket.Upgrader{WriteBufferPool: new(sync.Pool)}
	compressed = websocket.Upgrader{WriteBufferPool: new(sync.Pool), EnableCompression: true}
)

func main() {
	o := wspeer.Parse(peer.Loops, peer.Placement)
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		log.Fatal(err)
	}
	peer.Listening(ln.Addr())
	s := &http.Server{Handler: &wspeer.Handler{Upgrade: upgrade, Broadcast: broadcast}, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 3 * time.Minute}
	log.Fatal(s.Serve(ln))
}

// upgrade leaves the socket to a goroutine, so that what net/http needs for the request is freed.
func upgrade(w http.ResponseWriter, r *http.Request, path wspeer.Path) {
	u := &plain
	if path == wspeer.Deflate {
		u = &compressed
	}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		log.Print(err)
		return
	}
	c.SetReadLimit(wspeer.MaxMessage)
	go serve(c, path)
}

func serve(c *websocket.Conn, path wspeer.Path) {
	defer func() { _ = c.Close() }() // the client may be gone
	if path == wspeer.Sub {
		group.Add(c)
		defer group.Remove(c)
	}
	for {
		kind, r, err := c.NextReader()
		if err != nil {
			return
		}
		b := buffers.Get().(*bytes.Buffer)
		b.Reset()
		_, err = b.ReadFrom(r)
		if err == nil && path != wspeer.Sub {
			err = c.WriteMessage(kind, b.Bytes())
		}
		buffers.Put(b)
		if err != nil {
			return
		}
	}
}

func broadcast(message []byte, n int) int {
	prepared, err := websocket.NewPreparedMessage(websocket.BinaryMessage, message)
	if err != nil {
		log.Print(err)
		return 0
	}
	return group.Send(func(all []*websocket.Conn) {
		wspeer.AtOnce(all, func(c *websocket.Conn) {
			for range n {
				if err := c.WritePreparedMessage(prepared); err != nil {
					return // the client is gone
				}
			}
		})
	})
}
