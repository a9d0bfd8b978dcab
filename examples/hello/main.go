// Hello is a complete server. Its function answers each line and may block. Each client receives its answers in order, and a slow client
// does not delay the others.
//
//	go run ./examples/hello
//	go run ./examples/connect 127.0.0.1:7000    # in another terminal; then type a name
//
// The code below is also the first listing of the README.
package main

import (
	"bufio"
	"log"

	"github.com/evmq/evmq/server"
)

func main() {
	srv := server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, name []byte) {
		_, _ = w.WriteString("hello " + string(name) + "\n") // fails only if the client has disconnected
	})}
	log.Fatal(srv.ListenAndServe("tcp", "127.0.0.1:7000"))
}
