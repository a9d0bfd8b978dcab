package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// ask sends a text, closes its half, and prints the answer.
func ask(addr net.Addr, text string) {
	nc, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		log.Fatal(err)
	}
	if _, err = io.WriteString(nc, text); err == nil {
		err = nc.(*net.TCPConn).CloseWrite()
	}
	answer, e := io.ReadAll(nc)
	if err = errors.Join(err, e, nc.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", answer)
}

// Each line is answered on a worker, which may block. The answers come in the order of the lines.
func ExampleDispatch() {
	srv := &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		_, _ = fmt.Fprintln(w, strings.ToUpper(string(line))) // fails only when the client is gone
	})}
	ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	ask(ln.Addr(), "one\ntwo\n")
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: "ONE\nTWO\n"
}

// A Dispatcher has another framing than lines, here a length of two bytes before each message, and an answer for a client whose stream is
// invalid.
func ExampleDispatcher() {
	srv := &server.Server{Handler: &server.Dispatcher{
		Framing: framing.LengthPrefix{Size: 2, Order: binary.BigEndian, Max: 1000}, // bytes
		Serve: func(w server.Reply, message []byte) {
			_, _ = fmt.Fprintf(w, "%d bytes. ", len(message))
		},
		Malformed: func(c *server.Conn, err error) {
			if errors.Is(err, framing.ErrTooLong) { // err itself is for our log, not for clients
				_, _ = c.WriteString("Too long.")
			}
		},
		Concurrent: 4, // and still answered in order
	}}
	ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	ask(ln.Addr(), "\x00\x03abc\x00\x05defgh\xff\xff")
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: "3 bytes. 5 bytes. Too long."
}

// A handler on the loop consumes complete messages and leaves the rest, which it is given again with more bytes.
func ExampleHandlerFunc() {
	srv := &server.Server{Handler: server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) {
		if len(p) < 3 {
			return 0, nil
		}
		_, err := fmt.Fprintf(c, "%s-", p[:3]) // must not block, and does not
		return 3, err
	})}
	ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	ask(ln.Addr(), "abcdefgh")
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: "abc-def-"
}

// lines prints the lines of a server that was dialled.
type lines struct{ done chan error }

func (h lines) Open(c *server.Conn) { _, _ = c.WriteString("hello\n") }

func (h lines) Data(c *server.Conn, p []byte) (int, error) {
	n, line, err := bufio.ScanLines(p, false)
	if line != nil {
		fmt.Printf("%s\n", line)
		c.Close()
	}
	return n, err
}

func (h lines) Close(_ *server.Conn, reason error) { h.done <- reason }

// Dial connects without waiting: the handler's Open is called when the connection is established, and its Close, without Open, if that fails.
func ExampleServer_Dial() {
	srv := &server.Server{TLS: serverTLS(), Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		_, _ = fmt.Fprintf(w, "you said %s\n", line)
	})}
	ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	h := lines{make(chan error)}
	if _, err := srv.Dial(context.Background(), "tcp", ln.Addr().String(), &server.DialConfig{Handler: h, TLS: &tls.Config{RootCAs: clientTLS().RootCAs}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("closed:", <-h.done)
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// you said hello
	// closed: <nil>
}

// A listener can have a handler of its own, and TLS although the others have none.
func ExampleServer_Listen() {
	greet := server.Dispatch(bufio.ScanLines, func(w server.Reply, name []byte) { _, _ = fmt.Fprintf(w, "hello %s\n", name) })
	part := server.Dispatch(bufio.ScanLines, func(w server.Reply, name []byte) { _, _ = fmt.Fprintf(w, "goodbye %s\n", name) })
	srv := &server.Server{Handler: greet}
	ctx := context.Background() // bounds lookups of names
	first, err := srv.Listen(ctx, "tcp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	second, err := srv.Listen(ctx, "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: part})
	if err != nil {
		log.Fatal(err)
	}
	ask(first.Addr(), "Ann\n")
	ask(second.Addr(), "Ann\n")
	if err := srv.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.Wait())
	// Output:
	// "hello Ann\n"
	// "goodbye Ann\n"
	// server: closed
}

// A socket for datagrams needs no handler for connections. Any goroutine may send from it.
func ExampleServer_ListenPacket() {
	srv := &server.Server{PacketHandler: server.DispatchPackets(func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
		_, _ = pc.WriteTo(bytes.ToUpper(p), from) // a datagram that the kernel does not accept is discarded
	})}
	pc, err := srv.ListenPacket(context.Background(), "udp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	client, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		log.Fatal(err)
	}
	answer := make([]byte, 100)
	n := 0
	if _, err = io.WriteString(client, "datagram"); err == nil {
		n, err = client.Read(answer)
	}
	if err = errors.Join(err, client.Close(), srv.Shutdown(context.Background())); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer[:n])
	// Output: DATAGRAM
}

// A server can use a loop that the program runs. The loop still runs when the server has ended.
func ExampleServer_useLoops() {
	loop, err := event.NewLoop(nil)
	if err != nil {
		log.Fatal(err)
	}
	srv := &server.Server{
		UseLoops: []*event.Loop{loop},
		Handler: server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) { // on the goroutine that runs the loop
			_, err := fmt.Fprintf(c, "%d bytes", len(p))
			return len(p), err
		}),
	}
	ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		ask(ln.Addr(), "hello")
		if err := srv.Shutdown(context.Background()); err != nil {
			log.Fatal(err)
		}
	}()
	err = loop.Run(context.Background()) // returns when nothing is left to wait for
	if err = errors.Join(err, loop.Close()); err != nil {
		log.Fatal(err)
	}
	// Output: "5 bytes"
}
