package httpd

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// liveHeap returns the bytes of the objects that are in use.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools have kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A standstill says whether a connection goes no further, since its client sends no more, or since the server waits for the client. sent is
// the length of the client's input.
type standstill func(st server.ConnStats, sent int) bool

// The ways in which a connection stands still.
var (
	allRead      standstill = func(st server.ConnStats, sent int) bool { return st.BytesRead == uint64(sent) }
	readAhead    standstill = func(st server.ConnStats, _ int) bool { return st.BytesRead >= 7*64<<10/8 } // the loop reads no more, as the handler reads nothing
	aboveHigh    standstill = func(st server.ConnStats, _ int) bool { return st.BufferedBytes >= server.DefaultMaxOutput/4 }
	outputIsFull standstill = func(st server.ConnStats, _ int) bool { return st.BufferedBytes >= server.DefaultMaxOutput }
)

// awaitStandstill waits until each connection has ended, is being closed, or stands still.
func awaitStandstill(t *testing.T, s *Server, is standstill, sent int) {
	t.Helper()
	s.mu.Lock()
	srv := s.srv
	s.mu.Unlock()
	testkit.Until(t, "a standstill", func() bool {
		for c := range srv.Conns() {
			if _, err := c.Write(nil); !errors.Is(err, server.ErrClosed) && !is(c.Stats(), sent) { // ErrClosed: its input is discarded
				return false
			}
		}
		return true
	})
}

// largePiece is a part of a large response.
var largePiece = make([]byte, 64<<10)

// hold is a handler that waits for its client in several ways.
func hold(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/read":
		_, _ = io.Copy(io.Discard, req.Body) // until the client is gone
	case "/wait":
		<-req.Context().Done()
	case "/large":
		for range 100 {
			if _, err := w.Write(largePiece); err != nil {
				return
			}
		}
	case "/kilobyte":
		_, _ = w.Write(largePiece[:1<<10])
	}
}

// checkBound lets clients send the input and read nothing, and measures the memory that the server holds. The kernel holds little of the
// output, so that clients have sent all that is necessary before it holds as much as it may: from then on it may drop what comes from the
// server, acknowledgements included, and a client that sends does not go on.
func checkBound(t *testing.T, input string, clients int, is standstill) {
	t.Helper()
	const limit = 8 << 20
	s := &Server{Handler: http.HandlerFunc(hold), MaxBuffered: limit, Workers: clients + 8, Queue: server.Unlimited, ErrorLog: log.New(io.Discard, "", 0),
		Socket: server.SocketOptions{WriteBuffer: 16 << 10}}
	addr := start(t, s)
	w := &slow{Server: s}
	data := []byte(input) // once, since the copies would count
	before := liveHeap()
	conns := make([]net.Conn, 0, clients)
	defer func() {
		for _, nc := range conns { // with a reset, which the server notices behind input that it does not read
			_ = nc.(*net.TCPConn).SetLinger(0) // the server may have closed it
			_ = nc.Close()                     // as above
		}
		testkit.Until(t, "the end of the connections", func() bool { return w.stats().OpenConns == 0 })
		testkit.Until(t, "the end of the memory", func() bool { return w.stats().BufferedBytes == 0 })
	}()
	for range clients {
		nc, err := net.Dial("tcp", addr)
		testkit.Must(t, err)
		conns = append(conns, nc)
		testkit.Must(t, nc.(*net.TCPConn).SetReadBuffer(16<<10))
		testkit.Must(t, nc.SetWriteDeadline(time.Now().Add(testkit.Patience)))
		go func() { _, _ = nc.Write(data) }() // until the server reads no more
	}
	testkit.Until(t, "the connections", func() bool { return w.stats().Opened == uint64(clients) })
	awaitStandstill(t, s, is, len(input))
	st := w.stats()
	most := int64(limit)*3/2 + int64(st.OpenConns)*(8<<10) + 1<<20 // and a MB for the test itself
	held := liveHeap() - before
	t.Logf("%d KB are held, %d KB counted, with %d connections; the bound is %d KB", held>>10, st.BufferedBytes>>10, st.OpenConns, most>>10)
	if held > most {
		t.Errorf("%d KB are held; the limit is %d KB, %d KB are counted, %d connections", held>>10, int64(limit)>>10, st.BufferedBytes>>10, st.OpenConns)
	}
}

// Whatever clients send, and whatever they do not read, the server holds no more than MaxBuffered, and a few KB for each handler that waits.
func TestMemoryIsBoundedByMaxBuffered(t *testing.T) {
	for _, row := range []struct {
		name, input string
		clients     int
		more        int // in full size
		is          standstill
	}{
		{"heads of a megabyte without an end", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1<<20), 30, 200, allRead},
		{"small heads without an end", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 10<<10), 300, 3000, allRead},
		{"heads of many lines without an end", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 1<<17), 30, 200, allRead},
		{"chunks without an end", "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + strings.Repeat("x", 100<<10), 200, 2000, allRead},
		{"extensions of chunks without an end", "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff;" + strings.Repeat("x", 4000), 200, 2000, allRead},
		{"requests in a row whose responses are not read", strings.Repeat(get("/kilobyte"), 1000), 20, 200, aboveHigh},
		{"bodies that are not read", "POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("x", 1<<20), 100, 1000, readAhead},
		{"large responses that are not read", get("/large"), 200, 2000, outputIsFull},
	} {
		t.Run(row.name, func(t *testing.T) {
			clients := row.clients
			if testkit.Full() {
				clients = row.more
			}
			checkBound(t, row.input, clients, row.is)
		})
	}
}

// A head may have MaxHeaderBytes and a little more, and is refused with 431 as soon as it is longer.
func TestMaxHeaderBytesLimitsTheHead(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(serveByPath), MaxHeaderBytes: 1000})
	for _, row := range []struct {
		size, want int
		ends       bool
	}{{1000, 200, true}, {1000 + headSlack, 200, true}, {1001 + headSlack, 431, true}, {1001 + headSlack, 431, false}, {1 << 20, 431, false}} {
		head := get("/empty", "X: \r\n")
		head = get("/empty", "X: "+strings.Repeat("x", row.size-len(head))+"\r\n")
		if !row.ends {
			head = strings.TrimSuffix(head, "\r\n\r\n")
			head += strings.Repeat("x", 4)
		}
		c := dial(t, addr)
		go func() { _, _ = io.WriteString(c, head) }() // the server may refuse the beginning
		if resp := c.response(); resp.status != row.want || resp.closes != (row.want == 431) {
			t.Errorf("the response to a head of %d bytes is %d, and closes %v", row.size, resp.status, resp.closes)
		}
	}
}

// A connection above MaxConns gets a response, and the others are served on.
func TestAConnectionAboveMaxConnsGets503(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(serveByPath), MaxConns: 2}
	addr := start(t, s)
	first, second := dial(t, addr), dial(t, addr)
	for _, c := range []*client{first, second} {
		c.send(get("/empty"))
		c.response()
	}
	for range 20 {
		third := dial(t, addr)
		if resp := third.response(); resp.status != http.StatusServiceUnavailable || !resp.closes {
			t.Fatalf("the response is %+v", resp)
		}
		third.wantEnd()
	}
	first.send(get("/empty"))
	first.response()
	_ = second.Close() // by intention
	testkit.Until(t, "the end of a connection", func() bool { return (&slow{Server: s}).stats().OpenConns == 1 })
	fourth := dial(t, addr)
	fourth.send(get("/empty"))
	if resp := fourth.response(); resp.status != http.StatusOK {
		t.Errorf("the response is %+v", resp)
	}
}

// Clients that connect and reset, also within a request, leave nothing behind.
func TestClientsThatResetLeaveNothingBehind(t *testing.T) {
	clients := 500
	if testkit.Full() {
		clients = 5000
	}
	s := &Server{Handler: http.HandlerFunc(serveByPath)}
	addr := start(t, s)
	inputs := []string{"", "G", get("/empty"), get("/large"), strings.Repeat(get("/large"), 5), "POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
		"POST /empty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}
	for i := range clients {
		nc, err := net.Dial("tcp", addr)
		testkit.Must(t, err)
		_, _ = io.WriteString(nc, inputs[i%len(inputs)]) // fits into the kernel's buffer
		testkit.Must(t, nc.(*net.TCPConn).SetLinger(0))
		testkit.Must(t, nc.Close())
	}
	w := &slow{Server: s}
	testkit.Until(t, "the end of all connections", func() bool {
		st := w.stats()
		return st.Accepted == uint64(clients) && st.OpenConns == 0 && st.BufferedBytes == 0 && st.RunningRequests == 0
	})
	c := dial(t, addr)
	c.send(get("/empty"))
	if resp := c.response(); resp.status != http.StatusOK {
		t.Errorf("the response is %v", fmt.Sprint(resp))
	}
}
