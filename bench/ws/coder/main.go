// Coder is a WebSocket server on net/http and github.com/coder/websocket.
package main

import (
	"bytes"
	"context"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/evmq/evmq/bench/internal/peer"
	"github.com/evmq/evmq/bench/internal/wspeer"
)

// buffers has a buffer for the message that a goroutine answers, so that idle sockets have none.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

var group wspeer.Group[*websocket.Conn]

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
	mode := websocket.CompressionDisabled
	if path == wspeer.Deflate {
		mode = websocket.CompressionNoContextTakeover
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode})
	if err != nil {
		log.Print(err)
		return
	}
	c.SetReadLimit(wspeer.MaxMessage)
	go serve(c, path)
}

func serve(c *websocket.Conn, path wspeer.Path) {
	ctx := context.Background()         // without a deadline a call starts no timer
	defer func() { _ = c.CloseNow() }() // the client may be gone
	if path == wspeer.Sub {
		group.Add(c)
		defer group.Remove(c)
	}
	for {
		kind, r, err := c.Reader(ctx)
		if err != nil {
			return
		}
		b := buffers.Get().(*bytes.Buffer)
		b.Reset()
		_, err = b.ReadFrom(r)
		if err == nil && path != wspeer.Sub {
			err = c.Write(ctx, kind, b.Bytes())
		}
		buffers.Put(b)
		if err != nil {
			return
		}
	}
}

func broadcast(message []byte, n int) int {
	return group.Send(func(all []*websocket.Conn) {
		wspeer.AtOnce(all, func(c *websocket.Conn) {
			for range n {
				if err := c.Write(context.Background(), websocket.MessageBinary, message); err != nil {
					return // the client is gone
				}
			}
		})
	})
}
