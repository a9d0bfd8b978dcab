package httppeer

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Hello is the answer to a request for /.
const Hello = "hello\n"

// QueryTime is the time for which the handler of /db sleeps, as if it waited for a database.
const QueryTime = 5 * time.Millisecond

// A record is the answer to a request for /json.
type record struct {
	ID      int       `json:"id"`
	Name    string    `json:"name"`
	Email   string    `json:"email"`
	Active  bool      `json:"active"`
	Created time.Time `json:"created"`
}

var example = record{ID: 4711, Name: "Ada Lovelace", Email: "ada@example.org", Active: true, Created: time.Date(2026, time.November, 29, 4, 0, 0, 0, time.UTC)}

// JSON returns the answer to a request for /json. It is encoded in each call.
func JSON() []byte {
	body, err := json.Marshal(&example)
	if err != nil {
		panic(err) // the fields of a record have an encoding
	}
	return body
}

// Query returns the answer to a request for /db.
func Query() []byte {
	time.Sleep(QueryTime)
	return JSON()
}

// A Handler answers requests as all servers do. It is for libraries that call an http.Handler.
type Handler struct {
	File string // the path of the file for /file; empty for none
	// SetsLength sets the Content-Length of short answers, for a library that sends them in chunks otherwise.
	SetsLength bool
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		h.setLength(w, len(Hello))
		_, _ = io.WriteString(w, Hello) // fails if the client is gone
	case "/json":
		h.json(w, JSON())
	case "/db":
		h.json(w, Query())
	case "/file":
		h.file(w, r)
	case "/upload":
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			log.Print(err)
			return
		}
		text := strconv.FormatInt(n, 10) + "\n"
		h.setLength(w, len(text))
		_, _ = io.WriteString(w, text) // fails if the client is gone
	default:
		http.NotFound(w, r)
	}
}

func (h *Handler) setLength(w http.ResponseWriter, n int) {
	if h.SetsLength {
		w.Header().Set("Content-Length", strconv.Itoa(n))
	}
}

func (h *Handler) json(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	h.setLength(w, len(body))
	_, _ = w.Write(body) // fails if the client is gone
}

// file serves the file, or parts of it.
func (h *Handler) file(w http.ResponseWriter, r *http.Request) {
	f, info, err := open(h.File)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer func() { _ = f.Close() }() // it was only read
	http.ServeContent(w, r, info.Name(), info.ModTime(), f)
}

func open(path string) (f *os.File, info fs.FileInfo, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}
