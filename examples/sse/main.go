// Sse is a page of notes that all its readers see at once, by server-sent events. The page connects again by itself, also to the next process,
// and misses no note that the server still has. A program without EventSource waits for the next note with a long poll. SIGTERM and SIGINT
// end the streams in order.
//
//	go run ./examples/sse                                    # then open http://127.0.0.1:8080/ in two windows
//	curl -N http://127.0.0.1:8080/events                     # the stream, in another terminal
//	curl -i http://127.0.0.1:8080/next                       # waits for a note, or for the status 204
//	curl --data-urlencode text=hello http://127.0.0.1:8080/notes
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
)

//go:embed page.html
var page []byte

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	wait := flag.Duration("wait", time.Minute, "the time after which the response to a long poll is 204")
	keepAlive := flag.Duration("keepalive", 15*time.Second, "the time without a note after which a comment is sent")
	flag.Parse()
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	b, err := newBoard(*wait, *keepAlive)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", b.stream)
	mux.HandleFunc("GET /next", b.next)
	mux.HandleFunc("POST /notes", b.post)
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
