package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// ask sends a text, closes its half, and prints what comes back.
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

// A Dispatcher has another framing than lines, here a length of two bytes before each message, and says what a client is told whose
// stream makes no sense.
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

// A handler on the loop takes what it understands and leaves the rest, which comes again with more.
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

// lines prints what a server that was dialled says.
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

// Dial connects without waiting: the handler's Open is called when the connection is there, and its Close, without Open, if it cannot be.
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
