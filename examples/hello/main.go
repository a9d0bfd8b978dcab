// Hello is a complete server. A worker answers each line, and each client receives its answers in order. A slow client does not delay the
// others.
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
		_, _ = w.WriteString("hello " + string(name) + "\n") // on a worker: it may block
	})}
	log.Fatal(srv.ListenAndServe("tcp", "127.0.0.1:7000"))
}
