package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/httpd/sse"
)

// maxNote limits the text of a note, in bytes.
const maxNote = 4 << 10

// A board passes notes to the clients that wait for them.
type board struct {
	streams *sse.Group   // of the pages
	polls   *httpd.Group // the requests that wait for the next note
	wait    time.Duration
}

func newBoard(wait, keepAlive time.Duration) (*board, error) {
	streams, err := sse.NewGroup(&sse.GroupConfig{KeepAlive: keepAlive, Retry: time.Second})
	return &board{streams, httpd.NewGroup(nil), wait}, err
}

// stream responds with the notes that the client has missed, and then with each new one.
func (b *board) stream(w http.ResponseWriter, r *http.Request) {
	if last := r.URL.Query().Get("last"); last != "" && r.Header.Get("Last-Event-ID") == "" { // the page has made a new EventSource
		r.Header.Set("Last-Event-ID", last)
	}
	b.streams.ServeHTTP(w, r)
}

// next responds with the next note, or 204 when there was none for the time.
func (b *board) next(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	p, err := httpd.Park(w, r, &httpd.ParkConfig{Timeout: b.wait, OnTimeout: func(p *httpd.Parked) {
		p.WriteHeader(http.StatusNoContent)
		_ = p.Close() // fails if the client is gone
	}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if b.polls.Add(p) != nil { // the client is gone, or the server ends
		p.WriteHeader(http.StatusNoContent)
		_ = p.Close() // as above
	}
}

// post passes a note on.
func (b *board) post(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 3*maxNote) // each byte may be escaped
	text := strings.TrimSpace(r.PostFormValue("text"))
	if text == "" || len(text) > maxNote {
		http.Error(w, "a note has 1 to 4096 bytes", http.StatusBadRequest)
		return
	}
	if _, err := b.streams.Broadcast(sse.Event{Name: "note", Data: text}, nil); err != nil { // slow clients connect again
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.polls.Complete([]byte(text+"\n"), nil) // a client that has gone asks again
	w.WriteHeader(http.StatusNoContent)
}
