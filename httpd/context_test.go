package httpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// When the client goes away, the context of its request ends while the handler runs, by a close or a reset, and with the body read or absent.
func TestTheContextEndsWhenTheClientGoesAway(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		begun, ended := make(chan struct{}, 1), make(chan error, 1)
		addr := serve(t, s, func(_ http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/read" {
				_, _ = io.Copy(io.Discard, req.Body) // it is complete
			}
			if req.URL.Path == "/next" { // a pipelined request of a client that is gone may be handled, or not; the end of the server waits for it
				<-req.Context().Done()
				return
			}
			begun <- struct{}{}
			<-req.Context().Done()
			ended <- req.Context().Err()
		})
		for _, row := range []struct {
			name, input string
			leave       func(*client)
		}{
			{"close", get("/"), func(c *client) { _ = c.Close() }},
			{"close of the sending side", get("/"), (*client).closeWrite},
			{"reset", get("/"), (*client).reset},
			{"close after a body", post("/read", "Content-Length: 5\r\n") + "hello", func(c *client) { _ = c.Close() }},
			{"close after a chunked body", post("/read", "Transfer-Encoding: chunked\r\n") + "1\r\nx\r\n0\r\n\r\n", func(c *client) { _ = c.Close() }},
			{"reset after a pipelined request", get("/") + get("/next"), (*client).reset},
			{"reset with a body that is not read", post("/", "Content-Length: 500\r\n") + "hello", (*client).reset},
		} {
			t.Run(row.name, func(t *testing.T) {
				c := dial(t, addr)
				c.send(row.input)
				testkit.Await(t, begun, "the request")
				row.leave(c)
				if err := testkit.Await(t, ended, "the end of the context"); !errors.Is(err, context.Canceled) {
					t.Errorf("its error is %v", err)
				}
			})
		}
	})
}

// A client that has closed its sending side after its request gets the response.
func TestAHalfClosedConnectionReceivesItsResponse(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			n, err := io.Copy(io.Discard, req.Body)
			fmt.Fprint(w, n, err)
		})
		for _, input := range []string{get("/"), get("/") + get("/"), post("/", "Content-Length: 3\r\n") + "abc"} {
			c := dial(t, addr)
			c.send(input)
			c.closeWrite()
			if text := c.rest(); strings.Count(text, "HTTP/1.1 200 OK") != strings.Count(input, "HTTP/1.1") {
				t.Errorf("the response to %q is %q", input, text)
			}
		}
	})
}

// While a handler runs, input of the client that is not its body does not end the context.
func TestTheContextDoesNotEndWhileTheClientIsThere(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		begun, goOn := make(chan context.Context, 1), make(chan struct{})
		addr := serve(t, s, func(_ http.ResponseWriter, req *http.Request) {
			begun <- req.Context()
			<-goOn
		})
		c := dial(t, addr)
		c.send(get("/"))
		ctx := testkit.Await(t, begun, "the request")
		done := ctx.Done()
		c.send(get("/next")[:10])
		c.send(get("/next")[10:])
		if ctx.Err() != nil {
			t.Errorf("the error is %v", ctx.Err())
		}
		goOn <- struct{}{}
		c.response()
		testkit.Await(t, done, "the end of the context after the handler")
		testkit.Await(t, begun, "the next request")
		goOn <- struct{}{}
		c.response()
	})
}

func TestCloseNotifyReportsThatTheClientIsGone(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		begun, gone, returned := make(chan struct{}, 1), make(chan bool, 1), make(chan (<-chan bool), 1)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			notify := w.(http.CloseNotifier).CloseNotify() //nolint:staticcheck // that is tested
			if req.URL.Path == "/" {                       // no goroutine is left, and no value comes
				returned <- notify
				return
			}
			if again := w.(http.CloseNotifier).CloseNotify(); again != notify { //nolint:staticcheck // that is tested
				t.Error("the second call returns another channel")
			}
			begun <- struct{}{}
			gone <- <-notify
		})
		c := dial(t, addr)
		for range 10 {
			c.send(get("/"))
			c.response()
			select {
			case <-testkit.Await(t, returned, "the handler"):
				t.Error("the channel has a value after the handler has returned")
			default:
			}
		}
		c.send(get("/wait"))
		testkit.Await(t, begun, "the request")
		select {
		case <-gone:
			t.Error("the channel has a value while the client is there")
		default:
		}
		_ = c.Close() // by intention
		if !testkit.Await(t, gone, "the value of the channel") {
			t.Error("the value is false")
		}
	})
}

// A context that outlives its handler ends with it, and its values remain.
func TestTheContextOutlivesItsHandler(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		contexts := make(chan context.Context, 1)
		addr := serve(t, s, func(_ http.ResponseWriter, req *http.Request) {
			contexts <- context.WithValue(req.Context(), key("k"), "v")
		})
		c := dial(t, addr)
		c.send(get("/"))
		c.response()
		ctx := testkit.Await(t, contexts, "the request")
		testkit.Await(t, ctx.Done(), "the end of the context")
		if ctx.Value(key("k")) != "v" || ctx.Value(http.ServerContextKey) == nil || !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("the context has %v, %v, %v", ctx.Value(key("k")), ctx.Value(http.ServerContextKey), ctx.Err())
		}
		_ = c.Close()                            // by intention
		_ = ctx.Value(http.LocalAddrContextKey)  // must not panic after the end of the connection
		_, _ = ctx.Deadline()                    // as above
		child, cancel := context.WithCancel(ctx) // as above
		defer cancel()
		testkit.Await(t, child.Done(), "the end of a context that derives from one that has ended")
	})
}
