// Dispatcher is a server that accepts nothing itself: connections are brought to it, from wherever they come, and answers too.
//
//	go run ./examples/dispatcher -addr 127.0.0.1:7000    # then: nc 127.0.0.1 7000
//
// Three things are shown. A connection of package net is adopted, whether it was accepted (-addr) or dialled (-call): from then on a loop
// has it, and no goroutine waits for it. A timer runs on a connection's own loop. And an answer comes from a goroutine that knows
// nothing of connections but a name, the ID, which it may keep as long as it likes: a name whose connection is gone finds nothing, and never
// the stranger that has its descriptor now.
//
// A client that closes its sending half has left: it is closed, and hears no more.
//
//	after 50ms TEXT    says TEXT later, by a timer
//	job TEXT           says TEXT when the work is done, which happens elsewhere; -work is how long it takes
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

// A job is what a client has asked for, and what the client is called.
type job struct {
	client server.ConnID
	text   string
}

type dispatcher struct {
	srv        *server.Server
	jobs       chan job
	said, late atomic.Uint64 // answers that a connection took, and those whose connection was gone
}

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to accept connections on")
	call := flag.String("call", "", "address to connect to at the beginning, and to serve whoever is there")
	work := flag.Duration("work", 10*time.Millisecond, "how long a job takes")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	d := &dispatcher{jobs: make(chan job, 1000)}
	d.srv = &server.Server{Handler: server.HandlerFunc(d.data)}
	if err := d.srv.Start(); err != nil {
		log.Fatal(err)
	}
	for range 4 { // stands for a message broker, a device, another service's callbacks
		go func() {
			for j := range d.jobs {
				time.Sleep(*work)
				d.say(j.client, j.text)
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
		d.adopt(nc)
	}
	fmt.Println("listening on", l.Addr())

	<-stop
	_ = l.Close() // only to end accept
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := d.srv.Shutdown(deadline); err != nil {
		log.Print(err)
	}
	fmt.Println("stopped:", d.said.Load(), "answers,", d.late.Load(), "late")
}

// accept is any loop that gets connections; another one might take them from a TLS terminator, or from systemd.
func (d *dispatcher) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no descriptor is free, mostly
			log.Print(err)
			time.Sleep(100 * time.Millisecond)
		default:
			d.adopt(nc)
		}
	}
}

func (d *dispatcher) adopt(nc net.Conn) {
	if _, err := d.srv.AddConn(nc, &server.ConnConfig{Accepted: true}); err != nil { // then it is still ours
		_ = nc.Close()
		if !errors.Is(err, syscall.ENOTCONN) { // a client that has left already is nothing special
			log.Print(err)
		}
	}
}

// data takes a line, on the connection's loop, where it must not wait.
func (d *dispatcher) data(c *server.Conn, p []byte) (int, error) {
	n, line, err := bufio.ScanLines(p, false)
	if line == nil || err != nil {
		return 0, err
	}
	if problem := d.order(c, string(line)); problem != "" {
		_, err = c.WriteString("? " + problem + "\n")
	}
	return n, err
}

// order begins what a line asks for, or says why not.
func (d *dispatcher) order(c *server.Conn, line string) (problem string) {
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
		timer, err := c.Loop().AfterFunc(wait, func() { // on the loop, as all of c's own callbacks
			c.SetValue(nil)
			d.say(c.ID(), text)
		})
		if err != nil {
			return err.Error()
		}
		c.SetValue(timer)
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

// say gives an answer to whoever has the name, from any goroutine. It never waits.
func (d *dispatcher) say(client server.ConnID, text string) {
	c := d.srv.Conn(client)
	if c == nil {
		d.late.Add(1)
		return
	}
	if _, err := c.WriteString(text + "\n"); err != nil { // it is going just now, or does not read
		d.late.Add(1)
		return
	}
	d.said.Add(1)
}
