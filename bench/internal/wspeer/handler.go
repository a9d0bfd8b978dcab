package wspeer

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
)

// MaxMessage is the maximum length of a message in bytes: libraries with a limit have this one.
const MaxMessage = 16 << 20

// maxRepeats bounds the messages of one broadcast.
const maxRepeats = 1 << 20

// A Path is what a WebSocket is for.
type Path string

// The paths of WebSockets.
const (
	Echo    Path = "/echo"    // each message is answered with itself
	Deflate Path = "/deflate" // as Echo, with permessage-deflate without context takeover
	Sub     Path = "/sub"     // the socket receives broadcasts
)

// A Handler serves the paths that all servers have.
type Handler struct {
	// Upgrade upgrades a request for one of the paths of WebSockets. It answers the client if it fails.
	Upgrade func(w http.ResponseWriter, r *http.Request, path Path)
	// Broadcast sends a binary message n times to each socket of Sub and returns their number. The bytes do not change.
	Broadcast func(message []byte, n int) (sockets int)
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := Path(r.URL.Path); path {
	case Echo, Deflate, Sub:
		h.Upgrade(w, r, path)
	case "/broadcast":
		h.broadcast(w, r)
	case "/gc": // so that memory that is free is not counted as used
		debug.FreeOSMemory()
		debug.FreeOSMemory() // what a sync.Pool has is garbage for the second time only
		answer(w, "done\n")
	default:
		http.NotFound(w, r)
	}
}

// broadcast answers with the number of sockets.
func (h *Handler) broadcast(w http.ResponseWriter, r *http.Request) {
	n, err := number(r, "n", 1, maxRepeats)
	size := 0
	if err == nil {
		size, err = number(r, "size", 0, MaxMessage)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, strconv.Itoa(h.Broadcast(Message(size), n))+"\n")
}

// answer answers with a length, because nbio sends an answer in chunks otherwise.
func answer(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = io.WriteString(w, text) // fails if the client is gone
}

func number(r *http.Request, name string, low, high int) (int, error) {
	v, err := strconv.ParseInt(r.FormValue(name), 10, strconv.IntSize)
	if err != nil || v < int64(low) || v > int64(min(high, math.MaxInt32)) {
		return 0, fmt.Errorf("%s is %q, not a number from %d to %d", name, r.FormValue(name), low, high)
	}
	return int(v), nil
}

// Message returns a message of size bytes: text that deflate compresses to about a third.
func Message(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `{"id":%d,"price":%d.%02d,"at":"12:%02d:%02d"},`, i*7919%100_003, i*31%997, i*17%100, i%60, i*7%60)
	}
	return b.Bytes()[:size:size]
}
