// Smtp is a sink for mail, for tests of programs that send mail. It accepts every message, and stores it as a file or only counts it.
//
//	mkdir mail
//	go run ./examples/smtp -addr 127.0.0.1:2525 -dir mail
//	go run ./examples/connect 127.0.0.1:2525    # in another terminal; then type HELO me
//
// The protocol has two framings. Commands are lines. After DATA follows a message that ends with a line of a single dot, and then
// commands follow again. So there are two Dispatchers, and SetHandler changes between them. The change applies from the next byte on,
// even if a client has sent everything at once and all of it is in the buffer.
//
// With -cert and -key the sink offers STARTTLS:
//
//	openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem
//	go run ./examples/smtp -addr 127.0.0.1:2525 -cert cert.pem -key key.pem
//	openssl s_client -starttls smtp -crlf -connect 127.0.0.1:2525    # in another terminal; then type EHLO me
//
// Conn.StartTLS is called while the command is answered. The answer is still sent in clear, and then the handshake begins. Input that
// follows the command in clear closes the connection, since an attacker may have inserted it.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

type sink struct {
	dir            string
	limit          int // of a message, in bytes
	commands, mail *server.Dispatcher
	tls            *tls.Config // of STARTTLS; nil if it is not offered
	messages       atomic.Int64
}

func main() {
	addr := flag.String("addr", "127.0.0.1:2525", "address to listen on")
	s := &sink{}
	flag.StringVar(&s.dir, "dir", "", "directory for the messages; without it they are only counted")
	flag.IntVar(&s.limit, "limit", 10<<20, "largest message, in bytes")
	cert := flag.String("cert", "", "file of the certificate for STARTTLS, in PEM; without it STARTTLS is not offered")
	key := flag.String("key", "", "file of the certificate's private key, in PEM")
	flag.Parse()
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			log.Fatal(err)
		}
		s.tls = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	s.commands = &server.Dispatcher{
		Framing: framing.Lines{Max: maxLine},
		Serve:   s.command,
		Opened: func(c *server.Conn) {
			c.SetValue(new(session))
			_, _ = c.WriteString("220 sink ready\r\n") // a write fails only when the client is gone
		},
		Malformed: func(c *server.Conn, _ error) { _, _ = c.WriteString("500 line too long\r\n") },
	}
	s.mail = &server.Dispatcher{
		Framing: framing.DotTerminated{Max: s.limit},
		Serve:   s.message,
		Malformed: func(c *server.Conn, err error) {
			if errors.Is(err, framing.ErrTooLong) {
				_, _ = c.WriteString("552 message too large\r\n")
			}
		},
	}
	srv := &server.Server{Handler: s.commands, IdleTimeout: 5 * time.Minute, MaxBuffered: 256 << 20}
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
	fmt.Println("stopped:", s.messages.Load(), "messages")
}
