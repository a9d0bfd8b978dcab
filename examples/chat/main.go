// Chat is a chat room. Each line of a member is sent to all members.
//
//	go run ./examples/chat -addr 127.0.0.1:7000
//	go run ./examples/connect 127.0.0.1:7000    # in several other terminals
//
// The first line is the member's name. After that a line goes to all members, /msg NAME TEXT to one, /who lists the members, and /quit
// leaves the room.
//
// The server closes the connection of a member that does not read. Up to -buffer bytes may wait for a member. A line that would
// exceed this is refused, the connection is aborted, and the other members are notified. So a slow member does not delay the others,
// and no member misses a line while it stays connected. The memory is bounded by the number of members times the buffer.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode"

	"github.com/evmq/evmq/server"
)

const maxLine = 1000

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,20}$`)

// A room is shared by all clients, whose lines are processed at the same time, so it has a lock. Lines are sent under the lock, so all members receive them in the
// same order. A loop may take the lock because no operation under it blocks: a write to a connection does not wait.
type room struct {
	mu      sync.Mutex // guards members
	members map[string]*server.Conn

	sent, lost atomic.Uint64 // lines given to the kernel for a member, and lines that a member did not receive
}

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	buffer := flag.Int("buffer", 64<<10, "bytes that may wait in the server for a member that does not read")
	rate := flag.Float64("rate", 8<<10, "bytes a second that a member may send; 0 for no limit")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	r := &room{members: map[string]*server.Conn{}}
	chat := server.Dispatch(bufio.ScanLines, r.line)
	chat.Opened = func(c *server.Conn) { _, _ = c.WriteString("* your name?\n") } // fails only if the client is gone
	chat.Closed = r.closed
	srv := &server.Server{Handler: chat, MaxOutput: *buffer,
		ReadLimit: server.RateLimit{BytesPerSecond: *rate}} // so that one member cannot fill the buffers of the others
	ln, err := srv.Listen(context.Background(), "tcp", *addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())

	<-stop
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(deadline); err != nil {
		log.Print(err) // usually a member that did not read
	}
	fmt.Println("stopped:", r.sent.Load(), "lines sent,", r.lost.Load(), "lost")
}

// closed is called once for each connection, after its lines were processed.
func (r *room) closed(c *server.Conn, reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(reason, server.ErrAborted) {
		r.leave(c, "was disconnected: it does not read")
	} else {
		r.leave(c, "has left")
	}
}

// line answers a line of a client. Only that client receives what is written to w. The lines of a client are processed one
// at a time.
func (r *room) line(w server.Reply, line []byte) {
	if answer := r.answer(w.Conn(), strings.Map(printable, string(line))); answer != "" {
		_, _ = w.WriteString("* " + answer + "\n")
	}
}

// printable drops characters that are not printable, so that a member cannot send control sequences to another member's terminal.
func printable(c rune) rune {
	if unicode.IsPrint(c) {
		return c
	}
	return -1
}

func (r *room) answer(c *server.Conn, text string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, _ := c.Value().(string)
	command, rest, _ := strings.Cut(text, " ")
	switch {
	case len(text) > maxLine:
		return fmt.Sprintf("this line is too long; the limit is %d bytes", maxLine)
	case name == "":
		return r.join(c, text)
	case command == "/who":
		return "here: " + strings.Join(slices.Sorted(maps.Keys(r.members)), " ")
	case command == "/msg":
		to, text, _ := strings.Cut(rest, " ")
		if r.members[to] == nil {
			return fmt.Sprintf("there is no member %q", to)
		}
		r.send([]*server.Conn{r.members[to]}, name+" (private): "+text)
		return "sent to " + to
	case command == "/quit":
		r.leave(c, "has left")
		c.Close() // this answer is still sent
		return "bye"
	case strings.HasPrefix(text, "/"):
		return "/msg NAME TEXT, /who, /quit"
	}
	r.sendAll(name + ": " + text)
	return ""
}

// join makes c a member, or returns the reason why it cannot be one.
func (r *room) join(c *server.Conn, name string) (problem string) {
	if !nameRule.MatchString(name) {
		return "a name has 1 to 20 characters of A-Z a-z 0-9 _ -; try another one"
	}
	if r.members[name] != nil {
		return "this name is in use; try another one"
	}
	c.SetValue(name)
	r.members[name] = c
	r.sendAll("* " + name + " has joined")
	return ""
}

func (r *room) leave(c *server.Conn, how string) {
	if name, _ := c.Value().(string); name != "" {
		c.SetValue(nil)
		delete(r.members, name)
		r.sendAll("* " + name + " " + how)
	}
}

func (r *room) sendAll(text string) { r.send(slices.Collect(maps.Values(r.members)), text) }

// send sends a line to members. Each connection accepts or refuses it at once; the callback reports the outcome of an accepted line.
func (r *room) send(members []*server.Conn, text string) {
	refused := server.Broadcast(members, []byte(text+"\n"), func(_ *server.Conn, err error) {
		if err != nil {
			r.lost.Add(1)
			return
		}
		r.sent.Add(1)
	})
	for _, x := range refused {
		if errors.Is(x.Err, server.ErrFull) { // otherwise it is being closed, and closed notifies the others
			r.lost.Add(1)
			x.Conn.Abort()
		}
	}
}
