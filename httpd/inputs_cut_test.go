package httpd

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// exchangePieces is exchangeRaw for an input that arrives in pieces: each is sent when the server has read the one before.
func exchangePieces(t *testing.T, s *Server, addr string, pieces ...string) string {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }() // it was read to the end
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
	ended := make(chan string, 1)
	go func() {
		text, err := io.ReadAll(nc)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			text = append(text, err.Error()...)
		}
		ended <- string(text)
	}()
	before := s.srv.Stats().BytesRead
	for i, piece := range pieces {
		if _, err := io.WriteString(nc, piece); err != nil {
			break // the server has refused the pieces before
		}
		if before += uint64(len(piece)); i < len(pieces)-1 && !awaitRead(s, before, ended) {
			break
		}
	}
	_ = nc.(*net.TCPConn).CloseWrite() // as above
	return testkit.Await(t, ended, "the end of the response")
}

// awaitRead waits until the server has read n bytes, of the only client that sends. It returns false if the response has ended before, or the
// server reads no more, as after a request that it refuses.
func awaitRead(s *Server, n uint64, ended chan string) bool {
	for end := time.Now().Add(2 * time.Millisecond); s.srv.Stats().BytesRead < n; runtime.Gosched() {
		if len(ended) > 0 || time.Now().After(end) {
			return len(ended) == 0
		}
	}
	return true
}

// startOne starts our server alone, and returns it when it serves.
func startOne(t *testing.T, h http.Handler) (s *Server, addr string) {
	t.Helper()
	s = &Server{Handler: h}
	addr = start(t, s)
	testkit.Until(t, "the start", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.srv != nil
	})
	return s, addr
}

// Each input is cut at each of its bytes, and, if it is short, arrives byte by byte. Without EVMQ_FULL, a part of the cuts is made.
func TestInputsInPiecesAreServedAsAtOnce(t *testing.T) {
	s, addr := startOne(t, http.HandlerFunc(inputHandler))
	stride := 64
	if testkit.Full() {
		stride = 1
	}
	for i, in := range publicInputs(t) {
		check := func(pieces ...string) {
			if got := outcome(exchangePieces(t, s, addr, pieces...), methodsOf(in.input)); got != in.ours {
				t.Errorf("%s: the responses are %s, want %s, if the pieces are %q", in.place, got, in.ours, pieces)
			}
		}
		for at := 1 + i%stride; at < len(in.input); at += stride {
			check(in.input[:at], in.input[at:])
		}
		if len(in.input) < 80 && i%stride == 0 {
			check(strings.Split(in.input, "")...)
		}
	}
}

// The bytes after a request that was refused are not handled, whatever they are.
func TestNothingIsHandledAfterARefusal(t *testing.T) {
	handled := make(chan string, 1)
	_, addr := startOne(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/next" {
			select {
			case handled <- req.RequestURI:
			default:
			}
		}
		inputHandler(w, req)
	}))
	for _, in := range publicInputs(t) {
		if last := in.ours[strings.LastIndexByte(in.ours, ',')+1:]; last[0] == '2' || last == "-" || isIncomplete(in) {
			continue
		}
		peer{"httpd", addr}.exchangeRaw(t, in.input+get("/next"))
		select {
		case <-handled:
			t.Errorf("%s: a request after %q was handled", in.place, brief(in.input))
		default:
		}
	}
}

// isIncomplete reports whether the input is refused because it ends within a method or a body, so that any bytes continue it.
func isIncomplete(in publicInput) bool {
	for _, end := range []string{"G", "GE", "\r\n\r\n01234567", "\r\n\r\nabcdefgh", "\r\n\r\nCCCC"} {
		if in.input == end || len(end) > 1 && strings.HasSuffix(in.input, end) {
			return true
		}
	}
	return false
}
