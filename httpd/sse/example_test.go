package sse_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/httpd/sse"
)

// The time, each second, for every client.
func Example() {
	events, err := sse.NewGroup(nil)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/events", events)
	go func() {
		for t := range time.Tick(time.Second) {
			_, _ = events.Broadcast(sse.Event{Name: "time", Data: t.String()}, nil) // the event is valid; slow clients connect again
		}
	}()
	log.Fatal(httpd.ListenAndServe(":8080", nil))
}

// A stream for one client, which is sent an event and then the end.
func ExampleStart() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		stream, err := sse.Start(w, r, nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		go func() { // any goroutine, also when the handler has returned
			if err := stream.Send(sse.Event{ID: "1", Name: "price", Data: "42"}); err != nil {
				log.Print(err)
			}
			_ = stream.Close() // fails if the client has gone
		}()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &httpd.Server{Handler: http.HandlerFunc(handler)}
	go func() { _ = srv.Serve(l) }() // returns http.ErrServerClosed

	resp, err := http.Get("http://" + l.Addr().String()) //nolint:noctx // an example
	if err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if lines.Text() != "" {
			fmt.Println(lines.Text())
		}
	}
	if err := errors.Join(resp.Body.Close(), srv.Shutdown(context.Background())); err != nil {
		log.Fatal(err)
	}
	// Output:
	// event: price
	// id: 1
	// data: 42
}
