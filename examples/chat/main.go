// Chat is a room: what one member says, all hear.
//
//	go run ./examples/chat -addr 127.0.0.1:7000    # then: nc 127.0.0.1 7000, several times
//
// The first line is the member's name. After that a line goes to everybody, /msg NAME TEXT to one, /who says who is here, and /quit leaves.
//
// Who does not read is dropped. A member may hold -buffer bytes that it has not taken; a line that finds so many is refused,
// the member is cut off, and the others are told. So nobody waits for the slowest, and nobody misses a line unnoticed: a
// member has heard every line up to its end. Memory is bounded by members times buffer.
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

// A room is shared by the workers and the loops, so it has a lock. All that is said is said under it, and so all members hear the same
// in the same order. It may be taken on a loop because nothing under it waits: a write to a connection never does.
type room struct {
	mu      sync.Mutex
	members map[string]*server.Conn

	heard, lost atomic.Uint64 // lines given to the kernel for a member, and lines that a member did not get
}

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	buffer := flag.Int("buffer", 64<<10, "bytes that a member may leave unread in the server")
	rate := flag.Float64("rate", 8<<10, "bytes a second that a member may say, 0 for any number")
	flag.Parse()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	r := &room{members: map[string]*server.Conn{}}
	chat := server.Dispatch(bufio.ScanLines, r.line)
	chat.Opened = func(c *server.Conn) { _, _ = c.WriteString("* your name?\n") } // fails only if the client is gone
	chat.Closed = r.closed
	srv := &server.Server{Handler: chat, MaxOutput: *buffer,
		ReadLimit: server.RateLimit{BytesPerSecond: *rate}} // who pastes a book must not fill the others' buffers
	ln, err := srv.Listen(context.Background(), "tcp", *addr, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())

	<-stop
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(deadline); err != nil {
		log.Print(err) // a member that did not read, mostly
	}
	fmt.Println("stopped:", r.heard.Load(), "lines heard,", r.lost.Load(), "lost")
}

// closed is called once for each connection, when no line of it is with a worker any more.
func (r *room) closed(c *server.Conn, reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(reason, server.ErrAborted) {
		r.leave(c, "was dropped: it does not read")
	} else {
		r.leave(c, "has left")
	}
}

// line answers a line of a client, on a worker. What it writes to w comes to that client alone. A client's lines come one at a time.
func (r *room) line(w server.Reply, line []byte) {
	if answer := r.answer(w.Conn(), strings.Map(printable, string(line))); answer != "" {
		_, _ = w.WriteString("* " + answer + "\n")
	}
}

// printable keeps a member from drawing on another's screen.
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
		return fmt.Sprintf("that is too long, %d bytes are the most", maxLine)
	case name == "":
		return r.join(c, text)
	case command == "/who":
		return "here: " + strings.Join(slices.Sorted(maps.Keys(r.members)), " ")
	case command == "/msg":
		to, text, _ := strings.Cut(rest, " ")
		if r.members[to] == nil {
			return fmt.Sprintf("nobody is called %q", to)
		}
		r.tell([]*server.Conn{r.members[to]}, name+" whispers: "+text)
		return "told " + to
	case command == "/quit":
		r.leave(c, "has left")
		c.Close() // this answer still goes out
		return "bye"
	case strings.HasPrefix(text, "/"):
		return "/msg NAME TEXT, /who, /quit"
	}
	r.tellAll(name + ": " + text)
	return ""
}

// join makes c a member, or says why not.
func (r *room) join(c *server.Conn, name string) (problem string) {
	if !nameRule.MatchString(name) {
		return "a name is 1 to 20 of A-Z a-z 0-9 _ -; another one?"
	}
	if r.members[name] != nil {
		return "somebody has this name; another one?"
	}
	c.SetValue(name)
	r.members[name] = c
	r.tellAll("* " + name + " has come")
	return ""
}

func (r *room) leave(c *server.Conn, how string) {
	if name, _ := c.Value().(string); name != "" {
		c.SetValue(nil)
		delete(r.members, name)
		r.tellAll("* " + name + " " + how)
	}
}

func (r *room) tellAll(text string) { r.tell(slices.Collect(maps.Values(r.members)), text) }

// tell gives a line to some members. Each takes it or refuses it at once; what becomes of a line that is taken is said later.
func (r *room) tell(members []*server.Conn, text string) {
	refused := server.Broadcast(members, []byte(text+"\n"), func(_ *server.Conn, err error) {
		if err != nil {
			r.lost.Add(1)
			return
		}
		r.heard.Add(1)
	})
	for _, x := range refused {
		if errors.Is(x.Err, server.ErrFull) { // else it is leaving, and closed will say so
			r.lost.Add(1)
			x.Conn.Abort()
		}
	}
}
