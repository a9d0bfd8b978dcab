// Proxy connects each client with a backend, and hands on what either says, until both have said all.
//
//	go run ./examples/proxy -addr 127.0.0.1:7000 -backend 127.0.0.1:8000
//
// The two connections of a pair pause each other: as long as one does not take what it is sent, the other is not read from, and
// the kernel makes its sender wait. So a pair holds some hundred kilobytes at most, however much goes through. A half-close is handed
// on behind the bytes before it, a broken connection as a reset, and a backend that is not there as a reset, too.
//
// One thing differs from a cable: a connection that does not take its output is not read from either (see server.Server.HighWater).
// Two peers that both send without end before they read anything stop here earlier than they would without a proxy.
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

// A side serves both connections of a pair: what comes on one goes to the other, which is its Data. Near has put them on one
// loop, so the methods never run at the same time for a pair.
type side struct{}

// A frontend is the side of the client, which looks for the backend.
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
		HighWater: 256 << 10, // a connection holding so much output pauses the other one
		LowWater:  64 << 10,
		MaxOutput: 4 << 20, // is not reached: the other one is read from once or twice more, 64 KB at most each time
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

// Open begins to connect. The client waits meanwhile, its bytes in the kernel: nothing is read that could not be handed on.
func (f frontend) Open(client *server.Conn) {
	client.PauseRead()
	o := server.DialConfig{Handler: side{}, Near: client, Value: client}
	backend, err := client.Server().Dial(context.Background(), "tcp", f.backend, &o)
	if err != nil {
		log.Print(err) // what Dial says at once: too many connections, or the server is being shut down
		client.Abort()
		return
	}
	client.SetValue(backend)
}

// Open is called when the backend is connected. If it cannot be, Close is.
func (side) Open(backend *server.Conn) { other(backend).ResumeRead() }

// Data hands on. The error of a connection that is gone ends this one, too.
func (side) Data(c *server.Conn, p []byte) (int, error) { return other(c).Write(p) }

// HighWater and LowWater are of c's output, which is the other's input.
func (side) HighWater(c *server.Conn) { other(c).PauseRead() }

// LowWater is called after each HighWater, unless c is closed.
func (side) LowWater(c *server.Conn) { other(c).ResumeRead() }

// EOF hands on the half-close. A connection is closed when both halves are.
func (side) EOF(c *server.Conn) { _ = other(c).CloseWrite() } // it may be closed already

// Close leaves the other connection alone after a good end, for it may still have to flush; it has heard of the end of this one.
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
