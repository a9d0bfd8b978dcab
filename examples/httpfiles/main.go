// Httpfiles serves the files of a directory by HTTP, or with -cert and -key by HTTPS and HTTP/2. SIGTERM and SIGINT end it when the
// transfers in progress are complete.
//
//	go run ./examples/httpfiles -dir docs
package main

import (
	"context"
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

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	dir := flag.String("dir", ".", "the directory with the files")
	cert := flag.String("cert", "", "the file with the certificate, for HTTPS")
	key := flag.String("key", "", "the file with the certificate's key, for HTTPS")
	flag.Parse()

	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	srv := &httpd.Server{Handler: http.FileServer(http.Dir(*dir))}
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
	if *cert != "" || *key != "" {
		err = srv.ServeTLS(l, *cert, *key)
	} else {
		err = srv.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-ended; err != nil {
		log.Fatal(err)
	}
}
