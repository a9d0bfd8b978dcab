package client_test

import (
	"bufio"
	"context"
	"fmt"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/client"
	"github.com/evmq/evmq/server/framing"
)

// A handler asks another server. In place of the other server, this example has one that greets.
func Example() {
	greeter := &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, name []byte) {
		_, _ = w.WriteString("hello " + string(name) + "\n") // fails only if the client is gone
	})}
	ln, err := greeter.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		panic(err)
	}
	defer greeter.Close()

	srv := new(server.Server)
	greetings := &client.Client{Server: srv, Address: ln.Addr().String(), Framing: framing.Lines{}}
	srv.Handler = server.Dispatch(bufio.ScanLines, func(w server.Reply, name []byte) {
		greeting, err := greetings.Do(w.Context(), append(name, '\n'))
		if err != nil {
			greeting = []byte("no greeting: " + err.Error())
		}
		_, _ = w.Write(append(greeting, '\n')) // fails only if the client is gone
	})
	front, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		panic(err)
	}
	defer srv.Close()

	person := &client.Client{Server: greeter, Address: front.Addr().String(), Framing: framing.Lines{}}
	answer, err := person.Do(context.Background(), []byte("gopher\n"))
	fmt.Println(string(answer), err)
	// Output: hello gopher <nil>
}
