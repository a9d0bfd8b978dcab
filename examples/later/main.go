// Later answers a request when a message of another client arrives. No goroutine waits meanwhile.
//
//	go run ./examples/later -addr 127.0.0.1:7000
//	go run ./examples/connect 127.0.0.1:7000    # in two other terminals; then type "take fruit" in one and "give fruit apple" in the other
//
// "take NAME" is answered with the text of the next "give NAME TEXT" of any client, and with "timeout" after -wait. "give NAME TEXT" is
// answered with "given" if a client has waited for it, and otherwise with "none waits". A client that sends more than one line has them
// answered in order, so a "take" delays what follows it.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
)

// board has the requests that wait, by name, the oldest first.
type board struct {
	wait    time.Duration
	mu      sync.Mutex // guards waiting
	waiting map[string][]*request
}

// A request is a "take" that is not answered yet.
type request struct {
	reply server.Reply
	timer *server.ConnTimer // ends the wait; it ends with the connection
}

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	wait := flag.Duration("wait", time.Minute, "time after which a take is answered with timeout")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	b := &board{wait: *wait, waiting: map[string][]*request{}}
	srv := &server.Server{Handler: server.Dispatch(bufio.ScanLines, b.line)}
	ln, err := srv.Listen(context.Background(), "tcp", *addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())

	<-stop
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(deadline); err != nil {
		log.Print(err) // usually requests that still waited
	}
}

// line answers a line, at once or later.
func (b *board) line(w server.Reply, line []byte) {
	command, rest, _ := strings.Cut(string(line), " ")
	switch name, text, _ := strings.Cut(rest, " "); command {
	case "take":
		b.take(w, name)
	case "give":
		answer := "none waits\n"
		if b.give(name, text) {
			answer = "given\n"
		}
		_, _ = w.WriteString(answer) // fails only if the client is gone
	default:
		_, _ = w.WriteString("take NAME, give NAME TEXT\n")
	}
}

// take keeps the reply for a later give. The deadline is twice the time of the timer, which ends the wait in order.
func (b *board) take(w server.Reply, name string) {
	if w.Defer(2*b.wait) != nil {
		return // the client is gone
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &request{reply: w}
	r.timer = w.Conn().AfterFunc(b.wait, func() {
		if b.remove(name, r) {
			_ = answer(w, "timeout\n") // fails only if the client is gone
		}
	})
	context.AfterFunc(w.Context(), func() {
		if b.remove(name, r) {
			_ = w.Close() // fails, since the client is gone; the connection ends
		}
	})
	b.waiting[name] = append(b.waiting[name], r)
}

// give answers the oldest request for the name whose client is still there, and reports whether there was one.
func (b *board) give(name, text string) bool {
	for r := b.next(name); r != nil; r = b.next(name) {
		r.timer.Stop()
		if answer(r.reply, text+"\n") == nil {
			return true
		}
	}
	return false
}

// answer completes a deferred reply.
func answer(w server.Reply, text string) error {
	_, err := w.WriteString(text)
	if e := w.Close(); err == nil {
		err = e
	}
	return err
}

// next removes the oldest request for the name, and returns nil if there is none.
func (b *board) next(name string) *request {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.waiting[name]
	if len(all) == 0 {
		return nil
	}
	b.set(name, all[1:])
	return all[0]
}

// remove removes a request, and reports whether it was there: otherwise it was answered.
func (b *board) remove(name string, r *request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.waiting[name] {
		if other == r {
			b.set(name, append(b.waiting[name][:i:i], b.waiting[name][i+1:]...))
			return true
		}
	}
	return false
}

// set replaces the requests for a name. Under mu.
func (b *board) set(name string, all []*request) {
	if len(all) == 0 {
		delete(b.waiting, name)
		return
	}
	b.waiting[name] = all
}
