package httpd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A program is what a handler does: calls of the methods of the ResponseWriter and of the body, in the order that the bytes choose.
type program struct {
	choices
	w       http.ResponseWriter
	req     *http.Request
	results []string // what the calls have returned
	written int
}

// failure names an error as a handler can tell it.
func failure(err error) string {
	for _, known := range []error{http.ErrBodyNotAllowed, http.ErrContentLength, http.ErrBodyReadAfterClose, http.ErrNotSupported, http.ErrHijacked, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if err != nil {
		return "error"
	}
	return "ok"
}

// add records the result of a call.
func (p *program) add(call string, n int, err error) {
	p.results = append(p.results, fmt.Sprintf("%s %d %s", call, n, failure(err)))
}

// run runs the program.
func (p *program) run() {
	for p.more() && len(p.results) < 40 {
		switch p.n(10) {
		case 0, 1, 2:
			p.write()
		case 3:
			p.setHeader()
		case 4:
			p.w.WriteHeader([]int{200, 201, 204, 304, 404, 500, 103, 102, 999, 100}[p.n(10)])
		case 5:
			p.written++ // the head is sent
			p.add("Flush", 0, http.NewResponseController(p.w).Flush())
		case 6, 7:
			p.useBody()
		case 8:
			p.control()
		case 9:
			if p.n(8) == 7 && p.written == 0 { // otherwise it depends on buffers how much is sent
				panic(http.ErrAbortHandler)
			}
		}
	}
}

// write writes to the response. ReadFrom is not used, since that of net/http sends the head early, and more than the Content-Length.
func (p *program) write() {
	size := []int{0, 1, 10, 100, 2047, 2048, 2049, 5000, 70000}[p.n(9)]
	text := strings.Repeat("<b>", size/3+1)[:size]
	p.written += size
	switch p.n(4) {
	case 0:
		n, err := io.WriteString(p.w, text)
		p.add("WriteString", n, err)
	default:
		n, err := p.w.Write([]byte(text))
		p.add("Write", n, err)
	}
}

// setHeader changes the header.
func (p *program) setHeader() {
	h := p.w.Header()
	switch p.n(6) {
	case 0:
		h.Set("Content-Length", p.of("0", "10", "100", "2048", "5000"))
	case 1:
		h[p.of("Content-Type", "Date", "X-A", "Connection")] = nil
	case 2:
		h.Del(p.of("Content-Type", "Content-Length", "X-A", "Trailer"))
	case 3:
		h.Set("Trailer", p.of("X-A", "X-B, X-A", "X-C"))
	default:
		h.Add(p.of("X-A", "Connection", "Content-Type", "Content-Encoding", http.TrailerPrefix+"T", "X-B"), p.of("x", "close", "text/plain", "keep-alive", "a\r\nb: c"))
	}
}

// useBody reads or closes the body.
func (p *program) useBody() {
	if p.written > 0 || p.req.Header.Get("Expect") != "" && (!p.more() || p.data[0]%4 == 0) {
		return // where net/http differs: it closes the body when the head is sent, and the connection after Close of a body with Expect
	}
	switch p.n(4) {
	case 0:
		p.add("Close", 0, p.req.Body.Close())
	case 1:
		n, err := io.Copy(io.Discard, p.req.Body)
		p.add("ReadAll", int(n), err)
	default:
		n, err := io.ReadFull(p.req.Body, make([]byte, 1+p.n(6)))
		p.add("Read", n, err)
	}
}

// control uses the ResponseController.
func (p *program) control() {
	rc := http.NewResponseController(p.w)
	switch p.n(3) { // without EnableFullDuplex, after which net/http closes some connections
	case 0:
		p.add("SetReadDeadline", 0, rc.SetReadDeadline(time.Time{}))
	case 1:
		p.add("SetWriteDeadline", 0, rc.SetWriteDeadline(time.Now().Add(time.Hour)))
	case 2:
		if p.written > 0 || p.w.Header().Get("Content-Length") != "" {
			return // it uses ReadFrom
		}
		http.ServeContent(p.w, p.req, "f.html", time.Time{}, strings.NewReader(strings.Repeat("<p>", 1000)))
		p.data = nil // it is the whole response
	}
}

// FuzzResponse lets a handler do the same on both servers, and compares what its calls return, and what the client gets.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("\x00\x03\x00"), byte(0))
	f.Add([]byte("\x04\x01\x00\x08\x02\x05\x03\x03\x00\x00\x02\x00"), byte(1))
	f.Add([]byte("\x06\x02\x03\x00\x07\x02\x06\x01\x07\x00\x05\x00\x02\x02"), byte(9))
	results := make(chan []string, 1)
	theirs, ours := startPeers(f, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/next" {
			return
		}
		data, err := hex.DecodeString(req.URL.RawQuery)
		if err != nil {
			panic(err)
		}
		p := &program{choices: choices{data}, w: w, req: req}
		defer func() { results <- p.results }()
		p.run()
	}))
	f.Fuzz(func(t *testing.T, data []byte, kind byte) {
		if len(data) > 100 {
			return
		}
		c := choices{[]byte{kind, kind / 4, kind / 16}}
		head := c.of("GET", "POST", "HEAD", "PUT") + " /?" + hex.EncodeToString(data) + " " + c.of("HTTP/1.1\r\nHost: x\r\n", "HTTP/1.1\r\nHost: x\r\n", "HTTP/1.0\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n")
		body := c.of("\r\n", "Content-Length: 10\r\n\r\n0123456789", "Transfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3\r\nabc\r\n7\r\ndefghij\r\n0\r\nT: v\r\n\r\n", "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n0123456789", "Content-Length: 10\r\n\r\n01234", "Connection: close\r\n\r\n")
		if strings.Contains(head, "HTTP/1.0") && (strings.Contains(body, "chunked") || strings.Contains(body, "close")) {
			return // see the differences in the package documentation, and FuzzConnection
		}
		input := head + body + get("/next")
		methods := methodsOf(input)
		want := fields(theirs.exchangeRaw(t, input), methods)
		wantResults := <-results
		got := fields(ours.exchangeRaw(t, input), methods)
		if gotResults := <-results; fmt.Sprint(gotResults) != fmt.Sprint(wantResults) {
			t.Errorf("%q\nthe calls return %q\nand with net/http %q", input, gotResults, wantResults)
		}
		if !sameResponses(got, want) {
			t.Errorf("%q\n%q\nthe response of httpd is\n%s\nand that of net/http\n%s", input, wantResults, brief(got), brief(want))
		}
	})
}
