// Proxy connects each client with a backend, and forwards the bytes of both until both have closed their sending halves.
//
//	go run ./examples/echo -addr 127.0.0.1:8000                             # a backend
//	go run ./examples/proxy -addr 127.0.0.1:7000 -backend 127.0.0.1:8000    # in a second terminal
//	go run ./examples/connect 127.0.0.1:7000                                # in a third one; then type a line
//
// The two connections of a pair pause each other: while one does not accept output, the proxy does not read from the other, and
// flow control makes its sender wait. So a pair holds some hundred kilobytes at most, for any amount of traffic. A half-close is
// forwarded after the bytes before it. A broken connection, and a backend that cannot be reached, are forwarded as a reset.
//
// There is one difference to a direct connection: the proxy does not read from a connection that does not accept its output (see
// server.Server.HighWater). Two peers that both send without limit before they read block earlier than they would without a proxy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
)

// A side is the handler of both connections of a pair. It forwards the input of one to the other, which Conn.Value returns. Near
// has put both on one loop, so two methods never run at the same time for a pair.
type side struct{}

// A frontend is the handler of the client's connection, which dials the backend.
type frontend struct {
	side
	backend string
}

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	backend := flag.String("backend", "127.0.0.1:8000", "address to connect to")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	srv := &server.Server{
		Handler:   frontend{backend: *backend},
		HighWater: 256 << 10, // a connection with this much output pauses the other one
		LowWater:  64 << 10,
		MaxOutput: 4 << 20, // not reached: the other one is read from once or twice more, 64 KB at most each time
	}
	ln, err := srv.Listen(context.Background(), "tcp", *addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())

	<-stop
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(deadline); err != nil {
		log.Print(err)
	}
	st := srv.Stats()
	fmt.Println("stopped:", st.Opened, "connections,", st.BytesRead, "bytes in,", st.BytesWritten, "out")
}

// A pause is a reason to pause reading. It is an owner of Conn.PauseRead: reading continues when no reason is left.
type pause int

const (
	untilConnected pause = iota // the backend is not connected yet
	untilWritten                // the other connection holds much output
)

// Open starts to connect. Until the backend is connected, nothing is read from the client, and its bytes stay in the kernel.
func (f frontend) Open(client *server.Conn) {
	client.PauseRead(untilConnected)
	o := server.DialConfig{Handler: side{}, Near: client, Value: client}
	backend, err := client.Server().Dial(context.Background(), "tcp", f.backend, &o)
	if err != nil {
		log.Print(err) // there are too many connections, or the server is being shut down
		client.Abort()
		return
	}
	client.SetValue(backend)
}

// Open is called when the backend is connected. If the connection fails, Close is called instead.
func (side) Open(backend *server.Conn) { other(backend).ResumeRead(untilConnected) }

// Data forwards p. The error of a closed connection closes this one, too.
func (side) Data(c *server.Conn, p []byte) (int, error) { return other(c).Write(p) }

// HighWater is called when c holds much output, which is the input of the other connection.
func (side) HighWater(c *server.Conn) { other(c).PauseRead(untilWritten) }

// LowWater is called after each HighWater, unless c is closed.
func (side) LowWater(c *server.Conn) { other(c).ResumeRead(untilWritten) }

// EOF forwards the half-close. A connection is closed when both halves are closed.
func (side) EOF(c *server.Conn) { _ = other(c).CloseWrite() } // the other connection may be closed already

// Close does nothing to the other connection if this one has ended normally: EOF has closed its sending half, and it may still have
// output to flush.
func (side) Close(c *server.Conn, reason error) {
	peer := other(c)
	if peer == nil || reason == nil || errors.Is(reason, io.EOF) || errors.Is(reason, server.ErrServerClosed) {
		return
	}
	peer.Abort()
}

func other(c *server.Conn) *server.Conn {
	peer, _ := c.Value().(*server.Conn)
	return peer
}
