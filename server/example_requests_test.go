package server_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// hybrid is a Handler that answers most lines on the loop, and passes slow requests to the workers.
type hybrid struct{ lines framing.Lines }

func (h hybrid) Open(*server.Conn)         {}
func (h hybrid) Close(*server.Conn, error) {}

func (h hybrid) Data(c *server.Conn, p []byte) (int, error) {
	requests := c.Requests()
	found, err := h.lines.Next(p, requests.Cursor(), false)
	switch {
	case err != nil:
		return 0, err
	case found.Message == nil:
	case string(found.Message) == "report":
		err = requests.Serve(h, found.Message)
		requests.Hold(3) // four reports of a connection at a time
	case requests.Pending() > 0: // the answers to earlier requests are sent first
		requests.Hold(0)
		requests.SetCursor(0)
		return 0, nil
	default:
		_, err = fmt.Fprintf(c, "%s\n", found.Message)
	}
	requests.SetCursor(found.Cursor)
	return found.Advance, err
}

// ServeRequest may block.
func (h hybrid) ServeRequest(w server.Reply, message []byte) {
	_, _ = fmt.Fprintf(w, "%s: done\n", message) // fails only if the client has disconnected
}

// A handler that answers quick requests itself and passes others to workers. The answers are sent in the order of the requests.
func ExampleRequests() {
	srv := &server.Server{Handler: hybrid{}}
	ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Fprint(client, "ping\nreport\nping\n")
	answers := make([]byte, len("ping\nreport: done\nping\n"))
	if _, err = io.ReadFull(client, answers); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s", answers)
	// Output:
	// ping
	// report: done
	// ping
}
