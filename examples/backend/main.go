// Backend answers each line with the line of another server, in upper case. The handler asks the other server through a pool of
// connections, and waits for its answer.
//
//	go run ./examples/echo -addr 127.0.0.1:8000                              # another server
//	go run ./examples/backend -addr 127.0.0.1:7000 -backend 127.0.0.1:8000   # in a second terminal
//	go run ./examples/connect 127.0.0.1:7000                                 # in a third one; then type a line
//
// The connections to the other server are on the loops of the same server, and need no goroutines. A handler that runs on a loop gives the
// loop up before it waits.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/client"
	"github.com/evmq/evmq/server/framing"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	backend := flag.String("backend", "127.0.0.1:8000", "address of the other server, which answers each line with a line")
	timeout := flag.Duration("timeout", time.Second, "time after which a line is answered with an error")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	srv := new(server.Server)
	other := &client.Client{
		Server: srv, Address: *backend, Framing: framing.Lines{},
		Idempotent: func([]byte) bool { return true }, // the other server only answers
	}
	srv.Handler = server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		ctx, cancel := context.WithTimeout(w.Context(), *timeout)
		defer cancel()
		answer, err := other.Do(ctx, append(line, '\n'))
		if err != nil {
			answer = []byte("error: " + err.Error())
		} else {
			answer = bytes.ToUpper(answer)
		}
		_, _ = w.Write(append(answer, '\n')) // fails only if the client is gone
	})
	ln, err := srv.Listen(context.Background(), "tcp", *addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())

	<-stop
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(deadline); err != nil { // requests that have arrived are answered with the help of the other server
		log.Print(err)
	}
	st := other.Stats()
	fmt.Println("stopped:", st.Answers, "answers,", st.Errors, "errors,", st.Dials, "connections")
}
