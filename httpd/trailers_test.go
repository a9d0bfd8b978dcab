package httpd

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// The fields of a request's trailer are announced with empty values, and have their values when the body was read.
func TestTheTrailerOfARequestIsReadAfterItsBody(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			before := fmt.Sprint(req.Trailer)
			_, err := io.Copy(io.Discard, req.Body)
			fmt.Fprint(w, before, " ", req.Trailer, " ", err)
		})
		c := dial(t, addr)
		c.send(post("/", "Transfer-Encoding: chunked\r\nTrailer: A, B\r\n") + "5\r\nhello\r\n0\r\nA: 1\r\nA: 2\r\nUnannounced: 3\r\n\r\n")
		if resp := c.response(); resp.body != "map[A:[] B:[]] map[A:[1 2] B:[] Unannounced:[3]] <nil>" {
			t.Errorf("the response is %q", resp.body)
		}
	})
}

// A trailer is sent with chunks only: not in HTTP/1.0, nor to a HEAD, and neither are fields that determine the framing.
func TestTheTrailerOfAResponse(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			h := w.Header()
			h.Set("Trailer", "A, Transfer-Encoding")
			_, _ = io.WriteString(w, "body") // the client sees it
			if req.URL.Path == "/flush" {
				w.(http.Flusher).Flush()
			}
			h.Set("A", "1")
			h.Set("Unannounced", "2")
			h.Set(http.TrailerPrefix+"B", "3")
			h.Set(http.TrailerPrefix+"Content-Length", "4")
		})
		for _, path := range []string{"/", "/flush"} {
			c := dial(t, addr)
			c.send(get(path) + "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + "GET / HTTP/1.0\r\n\r\n")
			text := c.rest()
			first, rest, _ := strings.Cut(text, "0\r\n")
			end, rest, _ := strings.Cut(rest, "\r\n\r\n")
			if !strings.Contains(first, "\r\nTrailer: A, Transfer-Encoding\r\n") || !strings.HasSuffix(first, "\r\n\r\n4\r\nbody\r\n") || end != "A: 1\r\nB: 3" && end != "A: 1\r\nB: 3\r\nContent-Length: 4" {
				t.Errorf("%s: the response is %q, and the trailer %q", path, first, end)
			}
			if strings.Contains(rest, "A: 1") || strings.Contains(rest, "B: 3") || !strings.HasSuffix(rest, "\r\n\r\nbody") {
				t.Errorf("%s: the responses to HEAD and in HTTP/1.0 are %q", path, rest)
			}
		}
	})
}

// http.TimeoutHandler responds in place of a handler that takes too long, and passes the response of one that does not, and its panic.
func TestTimeoutHandler(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		goOn, ended := make(chan struct{}), make(chan error, 1)
		handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/slow":
				<-goOn
				_, err := io.WriteString(w, "late")
				ended <- err
			case "/panic":
				panic(http.ErrAbortHandler)
			default:
				w.Header().Set("A", "b")
				_, _ = io.WriteString(w, "in time") // the client sees it
			}
		})
		mux := http.NewServeMux()
		mux.Handle("/slow", http.TimeoutHandler(handler, 20*time.Millisecond, "timed out"))
		mux.Handle("/", http.TimeoutHandler(handler, testkit.Patience, "timed out"))
		addr := serve(t, s, mux.ServeHTTP)
		c := dial(t, addr)
		c.send(get("/slow"))
		if resp := c.response(); resp.status != http.StatusServiceUnavailable || resp.body != "timed out" {
			t.Errorf("the response is %v", resp)
		}
		close(goOn)
		if err := testkit.Await(t, ended, "the handler"); err != http.ErrHandlerTimeout {
			t.Errorf("Write after the timeout: %v", err)
		}
		c.send(get("/"))
		if resp := c.response(); resp.status != http.StatusOK || resp.body != "in time" || resp.header.Get("A") != "b" {
			t.Errorf("the response in time is %v", resp)
		}
		c.send(get("/panic"))
		c.wantEnd()
	})
}

// The end of a connection, the length and the type of a response are decided as in net/http.
func TestFramingIsThatOfNetHTTP(t *testing.T) {
	somePlacement(t, func(t *testing.T, s *Server) {
		theirs, ours := startPeers(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			query := req.URL.Query()
			for key, values := range query {
				if key != "code" && key != "body" && key != "flush" && key != "info" {
					w.Header()[key] = values
				}
				if values[0] == "nil" {
					w.Header()[key] = nil
				}
			}
			if code := number(req, "info"); code > 0 {
				w.WriteHeader(code)
			}
			if code := number(req, "code"); code > 0 {
				w.WriteHeader(code)
			}
			if query.Has("flush") {
				w.(http.Flusher).Flush()
			}
			_, _ = io.WriteString(w, strings.Repeat("a", number(req, "body"))) // the client sees it
		}), func(own *Server) { own.Placement = s.Placement })
		var inputs []string
		for _, query := range []string{
			"", "body=10", "body=3000", "flush=1", "flush=1&body=10", "Content-Length=10&body=10", "Content-Length=nil&body=10", "Content-Length=nil", "Content-Length=0",
			"Connection=close", "Connection=keep-alive", "Connection=close&body=3000", "Connection=Upgrade&Upgrade=x&code=101", "Content-Type=nil&body=10", "Content-Type=x/y",
			"Content-Encoding=gzip&body=10", "Transfer-Encoding=chunked", "Transfer-Encoding=chunked&body=10", "Transfer-Encoding=identity&body=10", "Transfer-Encoding=gzip&body=10",
			"Date=nil", "Date=today", "info=102", "info=103&body=10", "info=100&body=10", "info=103&Link=a&code=204",
			"code=204&body=10", "code=204&Content-Length=5", "code=204&Content-Type=x/y", "code=204&Transfer-Encoding=chunked", "code=304&body=10", "code=304&Content-Length=5", "code=304&Content-Type=x/y",
			"code=205", "code=205&body=1", "code=404", "code=500&body=10", "code=200&Trailer=A&body=1",
		} {
			for _, more := range []string{"HTTP/1.1\r\nHost: x\r\n", "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", "HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, x\r\n", "HTTP/1.0\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n"} {
				for _, method := range []string{"GET", "HEAD"} {
					inputs = append(inputs, fmt.Sprintf("%s /?%s %s\r\n", method, query, more)+get("/"))
				}
			}
		}
		compare(t, theirs, ours, inputs)
	})
}
