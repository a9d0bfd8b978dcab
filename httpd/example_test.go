package httpd_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/evmq/evmq/httpd"
)

// get returns the body of the response to a GET.
func get(url string) (string, error) {
	resp, err := http.Get(url) //nolint:noctx // an example
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// A Server is used and ended as the one of package net/http.
func ExampleServer() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "hello %s", r.PathValue("name")) // fails if the client has gone
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &httpd.Server{Handler: mux, ReadTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()

	fmt.Println(get("http://" + l.Addr().String() + "/hello/you"))

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(srv.Shutdown(ctx))
	fmt.Println(<-ended)
	// Output:
	// hello you <nil>
	// <nil>
	// http: Server closed
}

// A long poll: requests wait for news, without a goroutine, and one call completes the responses to all of them.
func ExamplePark() {
	waiting := httpd.NewGroup(nil)
	noContent := func(p *httpd.Parked) {
		p.WriteHeader(http.StatusNoContent)
		_ = p.Close() // fails if the connection has ended
	}
	next := func(w http.ResponseWriter, r *http.Request) {
		p, err := httpd.Park(w, r, &httpd.ParkConfig{Timeout: 30 * time.Second, OnTimeout: noContent})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if waiting.Add(p) != nil { // the client has gone, or Shutdown has begun
			noContent(p)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &httpd.Server{Handler: http.HandlerFunc(next)}
	go func() { _ = srv.Serve(l) }() // returns http.ErrServerClosed

	responses := make(chan string)
	for range 2 {
		go func() {
			body, err := get("http://" + l.Addr().String())
			responses <- fmt.Sprint(body, " ", err)
		}()
	}
	for waiting.Len() < 2 {
		time.Sleep(time.Millisecond)
	}
	for _, refused := range waiting.Complete([]byte("rain"), nil) {
		log.Print(refused)
	}
	fmt.Println(<-responses)
	fmt.Println(<-responses)
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// rain <nil>
	// rain <nil>
}
