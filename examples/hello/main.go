// Hello is a whole server: each line is answered on a worker, in order, whatever the client does and however slow it is.
//
//	go run ./examples/hello    # then: nc 127.0.0.1 7000
//
// What follows is also the first listing of the README.
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
