package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/evmq/evmq/httpd/websocket"
)

// A note is what the server sends to a page.
type note struct {
	Kind  string   `json:"kind"`            // "said" or "here"
	Run   string   `json:"run,omitempty"`   // of a message: which start of the server has numbered it
	ID    int      `json:"id,omitempty"`    // of a message: its number
	Name  string   `json:"name,omitempty"`  // of a message: its author
	Text  string   `json:"text,omitempty"`  // of a message
	Names []string `json:"names,omitempty"` // of "here": the members
}

// kept is the number of messages that are sent to pages which come again.
const kept = 100

// A room has the members and the latest messages.
type room struct {
	run string // differs for each start of the program

	mu      sync.Mutex // guards what follows, so that a page that comes is sent each message once
	group   *websocket.Group
	names   map[*websocket.Conn]string
	said    []note
	written int // messages so far
}

func newRoom() *room {
	return &room{run: rand.Text(), group: websocket.NewGroup(nil), names: map[*websocket.Conn]string{}}
}

// opened is called when a page has connected. Its URL has the name, and the last message that it has.
func (r *room) opened(c *websocket.Conn, req *http.Request) {
	q := req.URL.Query()
	name := clean(q.Get("name"), 30)
	if name == "" {
		_ = c.Close(websocket.ClosePolicyViolation, "a name is needed") // fails if the page is gone
		return
	}
	last := 0
	if q.Get("run") == r.run {
		last, _ = strconv.Atoi(q.Get("last")) // 0 if it is no number
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.said {
		if n.ID > last {
			_ = c.WriteText(n.text()) // as above
		}
	}
	if r.group.Add(c) != nil { // the page is gone
		return
	}
	r.names[c] = name
	r.tellWhoIsHere()
}

// closed is called when the connection of a page has ended. The group has noticed it.
func (r *room) closed(c *websocket.Conn, _ *websocket.CloseError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.names[c]; ok {
		delete(r.names, c)
		r.tellWhoIsHere()
	}
}

// message is called with a line that someone has written.
func (r *room) message(w websocket.Reply, t websocket.MessageType, p []byte) {
	text := clean(string(p), 1000)
	if t != websocket.Text || text == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name, ok := r.names[w.Conn()]
	if !ok {
		return
	}
	r.written++
	n := note{Kind: "said", Run: r.run, ID: r.written, Name: name, Text: text}
	if r.said = append(r.said, n); len(r.said) > kept {
		r.said = slices.Delete(r.said, 0, 1)
	}
	r.send(n)
}

// tellWhoIsHere sends the names to all. Under mu.
func (r *room) tellWhoIsHere() {
	names := make([]string, 0, len(r.names))
	for _, name := range r.names {
		names = append(names, name)
	}
	slices.Sort(names)
	r.send(note{Kind: "here", Names: names})
}

// send sends a note to all. A page that does not read is cut off, and connects again. Under mu.
func (r *room) send(n note) {
	if m, err := websocket.Prepare(websocket.Text, []byte(n.text())); err == nil { // the type is valid
		r.group.Broadcast(m, nil)
	}
}

// text returns the note as JSON.
func (n note) text() string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // a note has only strings and numbers
	}
	return string(b)
}

// clean returns s without control characters and spaces around it, and not longer than most characters.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.TrimSpace(s)
	for utf8.RuneCountInString(s) > most {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}
