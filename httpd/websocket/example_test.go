package websocket_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/server"
)

// Each message is sent back.
func Example() {
	echo, err := websocket.NewHandler(&websocket.Config{
		Message: func(w websocket.Reply, t websocket.MessageType, p []byte) { _ = w.WriteMessage(t, p) },
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/echo", echo)
	log.Fatal(httpd.ListenAndServe(":8080", nil))
}

// A message of a client is sent to all clients. Here there is one, which Dial has connected.
func ExampleGroup() {
	room := websocket.NewGroup(nil)
	handler, err := websocket.NewHandler(&websocket.Config{
		Opened: func(c *websocket.Conn, _ *http.Request) { _ = room.Add(c) }, // fails if it has ended
		Message: func(_ websocket.Reply, t websocket.MessageType, p []byte) {
			m, err := websocket.Prepare(t, p)
			if err != nil {
				log.Print(err)
				return
			}
			for _, refused := range room.Broadcast(m, nil) {
				log.Print(refused)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &httpd.Server{Handler: handler}
	go func() { _ = srv.Serve(l) }() // returns http.ErrServerClosed

	received := make(chan string, 1)
	member, err := websocket.NewHandler(&websocket.Config{
		Message: func(_ websocket.Reply, t websocket.MessageType, p []byte) { received <- fmt.Sprintf("%v: %s", t, p) },
	})
	if err != nil {
		log.Fatal(err)
	}
	loops := new(server.Server) // serves the WebSockets of Dial
	if err := loops.Start(); err != nil {
		log.Fatal(err)
	}
	c, err := websocket.Dial(context.Background(), "ws://"+l.Addr().String(), &websocket.DialConfig{Server: loops, Handler: member})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.WriteText("hello"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-received)
	for _, end := range []func(context.Context) error{srv.Shutdown, loops.Shutdown} { // the WebSocket is closed in order
		if err := end(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
	// Output: text: hello
}
