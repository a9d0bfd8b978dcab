package httpd

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// expectHandler reads the body unless the query says otherwise.
func expectHandler(w http.ResponseWriter, req *http.Request) {
	switch req.URL.RawQuery {
	case "unread":
		w.WriteHeader(http.StatusUnauthorized)
	case "explicit":
		w.WriteHeader(http.StatusContinue)
		_, _ = io.Copy(w, req.Body) // the client sees it
	case "early": // the response has begun before the body is read
		ctl := http.NewResponseController(w)
		_ = ctl.EnableFullDuplex() // returns nil
		_ = ctl.Flush()            // the client sees it
		_, _ = io.Copy(w, req.Body)
	case "part":
		_, _ = io.CopyN(w, req.Body, 2) // the client sees it
	case "closed":
		_ = req.Body.Close() // it must not send 100 Continue
	default:
		body, err := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s %v", body, err)
	}
}

const continueHead = "HTTP/1.1 100 Continue\r\n\r\n"

func TestContinueIsSentWhenTheBodyIsRead(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, expectHandler)
		for _, row := range []struct {
			head, body string
			want       string // the body of the response
		}{
			{post("/", "Expect: 100-continue\r\nContent-Length: 5\r\n"), "hello", "hello <nil>"},
			{post("/", "Expect: 100-CONTINUE\r\nContent-Length: 5\r\n"), "hello", "hello <nil>"},
			{post("/", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"), "5\r\nhello\r\n0\r\n\r\n", "hello <nil>"},
			{post("/?explicit", "Expect: 100-continue\r\nContent-Length: 5\r\n"), "hello", "hello"},
		} {
			c := dial(t, addr)
			for range 2 { // the connection is used again
				c.send(row.head)
				if text := c.head(); text != continueHead {
					t.Fatalf("%q: the first response is %q", row.head, text)
				}
				c.send(row.body)
				if resp := c.response(); resp.body != row.want || resp.closes {
					t.Errorf("the response to %q is %q, and the connection closes: %v", row.head, resp.body, resp.closes)
				}
			}
		}
	})
}

// A client that has not been told to send the body may send it or not, so the connection cannot be used again.
func TestTheConnectionClosesIfContinueWasNotSent(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, expectHandler)
		for _, path := range []string{"/?unread", "/?closed"} {
			for _, length := range []string{"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"} {
				c := dial(t, addr)
				c.send(post(path, "Expect: 100-continue\r\n"+length))
				if resp := c.response(); resp.status == http.StatusContinue || !resp.closes {
					t.Errorf("%s, %s: the response is %d %q, and announces the end of the connection: %v", path, length, resp.status, resp.body, resp.closes)
				}
				c.closeWrite()
				c.wantEnd()
			}
		}
	})
}

// A handler that has begun its response can read the body of a client that sends it, but the server does not tell the client to send it.
func TestContinueIsNotSentAfterTheBeginningOfTheResponse(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		c := dial(t, serve(t, s, expectHandler))
		c.send(post("/?early", "Expect: 100-continue\r\nContent-Length: 5\r\n"))
		if text := c.head(); !strings.HasPrefix(text, "HTTP/1.1 200 OK\r\n") {
			t.Errorf("the response is %q", text)
		}
		c.send("hello")
		if text := c.rest(); text != "5\r\nhello\r\n0\r\n\r\n" {
			t.Errorf("the rest of the response is %q", text)
		}
	})
}

// A client that does not wait for 100 Continue sends the body with the head. The body is not taken for a request.
func TestABodySentWithoutWaitingForContinueIsNoRequest(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, expectHandler)
		smuggled := get("/smuggled")
		for _, path := range []string{"/", "/?unread", "/?closed", "/?part"} {
			c := dial(t, addr)
			c.send(post(path, fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", len(smuggled))) + smuggled)
			c.closeWrite()
			text := strings.TrimPrefix(c.rest(), continueHead)
			if n := strings.Count(text, "HTTP/1.1 "); n != 1 && (path != "/" || n != 2) { // which contains the body
				t.Errorf("%s: the responses are %q", path, text)
			}
		}
	})
}

func TestExpectWithoutABodyIsServedAtOnce(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, expectHandler)
		c := dial(t, addr)
		for _, more := range []string{"Expect: 100-continue\r\n", "Expect: 100-continue\r\nContent-Length: 0\r\n"} {
			c.send(post("/", more))
			if resp := c.response(); resp.body != " <nil>" || resp.closes {
				t.Errorf("the response to %q is %v", more, resp)
			}
		}
		c.send("POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
		if resp := c.response(); resp.body != "hello <nil>" {
			t.Errorf("the response to HTTP/1.0 is %v", resp)
		}
	})
}

func TestAnUnknownExpectationIsRefused(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, expectHandler)
		for _, value := range []string{"a-pony", "100"} {
			c := dial(t, addr)
			c.send(post("/", "Expect: "+value+"\r\nContent-Length: 5\r\n"))
			if resp := c.response(); resp.status != http.StatusExpectationFailed || !resp.closes {
				t.Errorf("%s: %v", value, resp)
			}
		}
	})
}

// Reading a body whose handler has returned fails, also where the client waits for 100 Continue, and writes nothing into later responses.
func TestABodyIsOverWithItsHandler(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		bodies := make(chan io.ReadCloser, 1)
		addr := serve(t, s, func(_ http.ResponseWriter, req *http.Request) {
			bodies <- req.Body
			if req.URL.Path == "/panic" {
				panic(http.ErrAbortHandler)
			}
		})
		for _, path := range []string{"/", "/panic"} {
			for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
				c := dial(t, addr)
				c.send(post(path, expect+"Content-Length: 5\r\n"))
				body := testkit.Await(t, bodies, "the request")
				c.closeWrite()
				text := c.rest()
				if n, err := body.Read(make([]byte, 5)); n != 0 || err == nil {
					t.Errorf("%s: Read returns %d, %v", path, n, err)
				}
				if err := body.Close(); err != nil {
					t.Errorf("%s: Close: %v", path, err)
				}
				if strings.Contains(text, "100 Continue") {
					t.Errorf("%s: the response is %q", path, text)
				}
			}
		}
	})
}
