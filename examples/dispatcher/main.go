// Dispatcher is a server without listeners. The program accepts or dials the connections itself, and other goroutines compute the answers.
//
//	go run ./examples/dispatcher -addr 127.0.0.1:7000
//	go run ./examples/connect 127.0.0.1:7000    # in another terminal; then type a command
//
// The commands are:
//
//	after 50ms TEXT    answers TEXT later, by a timer
//	job TEXT           answers TEXT when a goroutine has done the work; -work is the time that this takes
//
// The program shows three things:
//
//   - AddConn makes a connection of package net a connection of the server, whether it was accepted (-addr) or dialled (-call). From then
//     on a loop serves it, and no goroutine waits for it.
//   - A timer of Conn.AfterFunc runs on the loop of its connection and ends with it.
//   - A goroutine answers with the ID of the connection alone, which it may keep for any time. The ID of a connection that has ended finds no
//     connection, and never another one that has the same descriptor.
//
// When a client closes its sending half, its connection is closed and it receives no more answers.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
)

const maxDelay = time.Minute

// A job is a request of a client, with the ID of the client's connection.
type job struct {
	client server.ConnID
	text   string
}

type dispatcher struct {
	srv        *server.Server
	jobs       chan job
	sent, late atomic.Uint64 // answers that a connection accepted, and answers to connections that had ended
}

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to accept connections on")
	call := flag.String("call", "", "address to connect to at the start; the peer is served as a client")
	work := flag.Duration("work", 10*time.Millisecond, "time that a job takes")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	d := &dispatcher{jobs: make(chan job, 1000)}
	d.srv = &server.Server{Handler: server.HandlerFunc(d.data)}
	if err := d.srv.Start(); err != nil {
		log.Fatal(err)
	}
	for range 4 { // stands for a message broker, a device, or the callbacks of another service
		go func() {
			for j := range d.jobs {
				time.Sleep(*work)
				d.answer(j.client, j.text)
			}
		}()
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	go d.accept(l)
	if *call != "" {
		nc, err := net.Dial("tcp", *call)
		if err != nil {
			log.Fatal(err)
		}
		d.add(nc)
	}
	fmt.Println("listening on", l.Addr())

	<-stop
	_ = l.Close() // only to end accept
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := d.srv.Shutdown(deadline); err != nil {
		log.Print(err)
	}
	fmt.Println("stopped:", d.sent.Load(), "answers,", d.late.Load(), "late")
}

// accept stands for any source of connections, such as a TLS terminator or systemd.
func (d *dispatcher) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // usually no descriptor is free
			log.Print(err)
			time.Sleep(100 * time.Millisecond)
		default:
			d.add(nc)
		}
	}
}

// add makes nc a connection of the server.
func (d *dispatcher) add(nc net.Conn) {
	if _, err := d.srv.AddConn(nc, &server.ConnConfig{Accepted: true}); err != nil { // then nc is still owned by the caller
		_ = nc.Close()
		if !errors.Is(err, syscall.ENOTCONN) { // the client has disconnected already, which is not logged
			log.Print(err)
		}
	}
}

// data reads a line. It runs on the connection's loop and must not block.
func (d *dispatcher) data(c *server.Conn, p []byte) (int, error) {
	n, line, err := bufio.ScanLines(p, false)
	if line == nil || err != nil {
		return 0, err
	}
	if problem := d.command(c, string(line)); problem != "" {
		_, err = c.WriteString("? " + problem + "\n")
	}
	return n, err
}

// command executes the command of a line, or returns the reason why it cannot.
func (d *dispatcher) command(c *server.Conn, line string) (problem string) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "after":
		delay, text, _ := strings.Cut(rest, " ")
		wait, err := time.ParseDuration(delay)
		if err != nil || wait < 0 || wait > maxDelay {
			return "after 50ms TEXT, at most " + maxDelay.String()
		}
		if c.Value() != nil {
			return "one timer at a time"
		}
		c.SetValue(c.AfterFunc(wait, func() { // runs on the loop, as all callbacks of c do; not after the end of c
			c.SetValue(nil)
			d.answer(c.ID(), text)
		}))
	case "job":
		select {
		case d.jobs <- job{c.ID(), rest}:
		default:
			return "busy"
		}
	default:
		return "after 50ms TEXT, or job TEXT"
	}
	return ""
}

// answer sends an answer to the connection with the ID. Any goroutine may call it. It does not block.
func (d *dispatcher) answer(client server.ConnID, text string) {
	c := d.srv.Conn(client)
	if c == nil {
		d.late.Add(1)
		return
	}
	if _, err := c.WriteString(text + "\n"); err != nil { // the connection is being closed, or the client does not read
		d.late.Add(1)
		return
	}
	d.sent.Add(1)
}
