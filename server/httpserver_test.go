package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// This file is a small HTTP/1.1 server. It uses exported methods only, so it shows that a program can write one: keep-alive and pipelining,
// bodies that are read as they arrive, with a length or in chunks, Expect, and a 101 upgrade to a handler of another protocol. The requests
// of package net/http are used for the heads.

// httpHeads is the framing: a message is the head of a request, up to the empty line.
type httpHeads struct{}

func (httpHeads) MaxLen() int { return 16 << 10 }

func (f httpHeads) Next(data []byte, cursor int, atEOF bool) (framing.Result, error) {
	if i := bytes.Index(data[max(0, cursor-3):], []byte("\r\n\r\n")); i >= 0 {
		n := max(0, cursor-3) + i + 4
		return framing.Result{Message: data[:n], Advance: n}, nil
	}
	switch {
	case len(data) >= f.MaxLen():
		return framing.Result{}, framing.ErrTooLong
	case atEOF && len(data) > 0:
		return framing.Result{}, io.ErrUnexpectedEOF
	}
	return framing.Result{Cursor: len(data)}, nil
}

// serveHTTP returns a server.Handler that serves requests with h.
func serveHTTP(h http.Handler) *server.Dispatcher {
	return &server.Dispatcher{
		Framing:     httpHeads{},
		CancelOnEOF: true,
		Serve:       func(w server.Reply, head []byte) { serveExchange(h, w, head) },
		Malformed: func(c *server.Conn, err error) {
			_, _ = c.WriteString("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") // fails if the client has gone
		},
	}
}

// serveExchange answers one request.
func serveExchange(h http.Handler, w server.Reply, head []byte) {
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err == nil {
		err = setBody(w, req)
	}
	if err != nil {
		_, _ = w.WriteString("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_ = w.Conn().CloseWithError(err) // fails if it is closed already
		return
	}
	res := &response{w: w, header: http.Header{}, status: http.StatusOK, keepAlive: !req.Close}
	h.ServeHTTP(res, req.WithContext(w.Context()))
	if res.upgraded {
		return
	}
	const most = 256 << 10 // of a body that h has not read; for more, a new connection costs less
	if n, err := io.CopyN(io.Discard, req.Body, most); n == most || err != io.EOF {
		res.keepAlive = false
	}
	res.send()
}

// A response collects the answer. Its methods are those of http.ResponseWriter, and upgrade.
type response struct {
	w         server.Reply
	header    http.Header
	body      bytes.Buffer
	status    int
	keepAlive bool
	upgraded  bool
}

func (r *response) Header() http.Header         { return r.header }
func (r *response) WriteHeader(status int)      { r.status = status }
func (r *response) Write(p []byte) (int, error) { return r.body.Write(p) }

// send writes the head and the body.
func (r *response) send() {
	r.header.Set("Content-Length", strconv.Itoa(r.body.Len()))
	if !r.keepAlive {
		r.header.Set("Connection", "close")
	}
	r.writeHead()
	_, _ = r.w.Write(r.body.Bytes()) // fails if the client has gone
	if !r.keepAlive {
		_ = r.w.Conn().Close()
	}
}

func (r *response) writeHead() {
	_, _ = fmt.Fprintf(r.w, "HTTP/1.1 %d %s\r\n", r.status, http.StatusText(r.status))
	_ = r.header.Write(r.w)
	_, _ = r.w.WriteString("\r\n")
}

// upgrade answers with 101. The input that follows the request, and the connection, belong to next.
func (r *response) upgrade(protocol string, next server.Handler) error {
	r.upgraded, r.status = true, http.StatusSwitchingProtocols
	r.header.Set("Connection", "Upgrade")
	r.header.Set("Upgrade", protocol)
	r.writeHead()
	return r.w.Conn().SetHandler(next)
}

// setBody sets the body of a request: the bytes that follow its head.
func setBody(w server.Reply, req *http.Request) error {
	chunked := len(req.TransferEncoding) > 0
	if lengths := req.Header["Content-Length"]; chunked && len(lengths) > 0 || req.ProtoMajor != 1 {
		return errors.New("the length of the body is ambiguous")
	}
	body := &requestBody{w: w, left: max(0, req.ContentLength), chunked: chunked}
	body.expects = strings.EqualFold(req.Header.Get("Expect"), "100-continue") && (chunked || body.left > 0)
	req.Body = body
	return nil
}

// requestBody is the body of a request. It consumes exactly the bytes of the body, since the next request follows them.
type requestBody struct {
	w       server.Reply
	left    int64 // of the body, or of the current chunk
	chunked bool
	expects bool // the client waits for 100 Continue
	begun   bool // the first chunk
	err     error
}

func (b *requestBody) Close() error { return nil }

func (b *requestBody) Read(p []byte) (int, error) {
	if b.expects {
		b.expects = false
		_, _ = b.w.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
		_ = b.w.Flush() // fails if the client has gone; then Read fails, too
	}
	if b.err == nil && b.left == 0 {
		b.err = b.nextChunk()
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.w.Input().Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.err = err
	return n, err
}

// nextChunk reads the line before a chunk, and the end of the chunk before it. It returns io.EOF after the last chunk and its trailer.
func (b *requestBody) nextChunk() error {
	if !b.chunked {
		return io.EOF
	}
	if b.begun {
		if end, err := b.line(); err != nil || end != "" {
			return errors.Join(errors.New("a chunk is longer than its length"), err)
		}
	}
	b.begun = true
	size, err := b.line()
	if err != nil {
		return err
	}
	size, _, _ = strings.Cut(size, ";")
	length, err := strconv.ParseUint(strings.TrimSpace(size), 16, 63)
	if err != nil {
		return fmt.Errorf("the length of a chunk: %w", err)
	}
	if b.left = int64(length); b.left > 0 { //nolint:gosec // of 63 bits
		return nil
	}
	for err == nil && size != "" { // the trailer
		size, err = b.line()
	}
	if err == nil {
		err = io.EOF
	}
	return err
}

// line consumes a line.
func (b *requestBody) line() (string, error) {
	in := b.w.Input()
	for n := 2; ; n++ {
		p, err := in.Peek(n)
		if err == nil {
			p, err = in.Peek(0)
		}
		if i := bytes.Index(p, []byte("\r\n")); i >= 0 {
			line := string(p[:i])
			_, err = in.Discard(i + 2)
			return line, err
		}
		if err != nil || len(p) > 4<<10 {
			return "", errors.Join(io.ErrUnexpectedEOF, err)
		}
		n = len(p)
	}
}
