// Wschat is a chat over WebSocket with a page for browsers. The page lists the names of the participants. A page that has lost its
// connection connects again by itself and is sent the messages that it has missed. SIGTERM and SIGINT close the WebSockets in order.
//
//	go run ./examples/wschat    # then open http://127.0.0.1:8080/
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/httpd/websocket"
)

//go:embed page.html
var page []byte

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	flag.Parse()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	r := newRoom()
	h, err := websocket.NewHandler(&websocket.Config{
		Message: r.message, Opened: r.opened, Closed: r.closed,
		MaxMessage: 4 << 10, FrameRate: 20, MaxOutput: 256 << 10, CutOffSlow: true, Deflate: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /chat", h)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'")
		_, _ = w.Write(page) // fails if the client is gone
	})
	srv := &httpd.Server{Handler: mux}
	ended := make(chan error, 1)
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		<-signals
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended <- srv.Shutdown(ctx)
	}()
	fmt.Println("listening on", l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
}
