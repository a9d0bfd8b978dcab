package httpd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// run starts s, and returns its address and the channel of the error of Serve. The test ends it.
func run(t *testing.T, s *Server) (addr string, served chan error) {
	t.Helper()
	l := listen(t)
	served = make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() }) // the test has ended it
	return l.Addr().String(), served
}

// Close ends requests in progress and idle connections at once.
func TestCloseEndsRequestsInProgress(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		begun, ended := make(chan struct{}), make(chan error, 1)
		s.Handler = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			close(begun)
			<-req.Context().Done()
			ended <- context.Cause(req.Context())
		})
		addr, served := run(t, s)
		idle, busy := dial(t, addr), dial(t, addr)
		busy.send(get("/"))
		testkit.Await(t, begun, "the request")
		testkit.Must(t, s.Close())
		idle.rest()
		busy.rest()
		if err := testkit.Await(t, ended, "the end of the context"); err == nil {
			t.Error("the context has no cause")
		}
		testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
		testkit.Must(t, s.Close())                        // again
		testkit.Must(t, s.Shutdown(context.Background())) // as above
		testkit.WantErr(t, s.ListenAndServe(), http.ErrServerClosed)
		testkit.WantErr(t, s.Serve(listen(t)), http.ErrServerClosed)
	})
}

// When its context ends, Shutdown closes the connections that are left and returns the error of the context.
func TestShutdownEndsWithItsContext(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		begun := make(chan struct{})
		s.Handler = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			close(begun)
			<-req.Context().Done()
		})
		addr, served := run(t, s)
		c := dial(t, addr)
		c.send(get("/"))
		testkit.Await(t, begun, "the request")
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		defer cancel()
		testkit.WantErr(t, s.Shutdown(ctx), context.DeadlineExceeded)
		c.rest()
		testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
	})
}

// Shutdown does not wait for a client that has connected and sent nothing, or a part of a head; a request that has begun is served.
func TestShutdownAndConnectionsWithoutARequest(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		s.Handler = http.HandlerFunc(serveByPath)
		addr, served := run(t, s)
		silent, partial := dial(t, addr), dial(t, addr)
		partial.send("GET / HTT")
		other := dial(t, addr)
		other.send(get("/empty"))
		other.response() // the other connections are accepted
		ctx, cancel := testkit.Soon()
		defer cancel()
		go func() {
			silent.rest()
			_ = silent.Close() // so that the server's close ends
			partial.rest()
			_ = partial.Close() // as above
			other.rest()
			_ = other.Close() // as above
		}()
		testkit.Must(t, s.Shutdown(ctx))
		testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
	})
}

// A server that was closed before it was started serves nothing.
func TestAServerMayBeClosedBeforeItIsStarted(t *testing.T) {
	for name, end := range map[string]func(s *Server) error{
		"Close":    (*Server).Close,
		"Shutdown": func(s *Server) error { return s.Shutdown(context.Background()) },
	} {
		s := &Server{}
		if err := errors.Join(end(s), end(s)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Serve(listen(t)); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve after %s: %v", name, err)
		}
	}
}

// Serve may be called for several listeners at the same time, each with its base context.
func TestSeveralListenersHaveTheirBaseContexts(t *testing.T) {
	s := &Server{
		BaseContext: func(l net.Listener) context.Context {
			return context.WithValue(context.Background(), key("listener"), l.Addr().String())
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.Context().Value(key("listener"))) }),
	}
	a, servedA := run(t, s)
	b, servedB := run(t, s)
	for _, addr := range []string{a, b} {
		c := dial(t, addr)
		c.send(get("/"))
		if got := c.response(); got.body != addr {
			t.Errorf("the context is that of %q, not %s", got.body, addr)
		}
		_ = c.Close() // the test is over
	}
	testkit.Must(t, s.Close())
	for _, served := range []chan error{servedA, servedB} {
		testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
	}
}

// ConnContext is called once for a connection, and the contexts of other connections are not changed.
func TestConnContextBelongsToOneConnection(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		var mu sync.Mutex
		calls := 0
		s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			mu.Lock()
			defer mu.Unlock()
			calls++
			return context.WithValue(ctx, key("number"), calls)
		}
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.Context().Value(key("number"))) })
		for i := range 3 {
			c := dial(t, addr)
			for range 2 {
				c.send(get("/"))
				if resp := c.response(); resp.body != fmt.Sprint(i+1) {
					t.Errorf("connection %d has the context of %s", i+1, resp.body)
				}
			}
		}
	})
}

// ConnState reports the states of each kind of connection as net/http does.
func TestConnStateOfEachKindOfConnection(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		var mu sync.Mutex
		states := make(map[string]string)
		state := func(nc net.Conn, state http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			states[nc.RemoteAddr().String()] += state.String() + " "
		}
		s.ConnState = state
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			switch req.URL.Path {
			case "/hijack":
				nc, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_ = nc.Close() // the client sees it
			case "/panic":
				panic(http.ErrAbortHandler)
			}
		})
		for input, want := range map[string]string{
			"":                                "new closed ",
			"GET":                             "new closed ",
			get("/"):                          "new active idle closed ",
			get("/") + get("/"):               "new active idle active idle closed ",
			get("/", "Connection: close\r\n"): "new active closed ",
			get("/hijack"):                    "new active hijacked ",
			get("/panic"):                     "new active closed ",
			"nonsense\r\n\r\n":                "new active closed ",
			post("/", "Content-Length: 5\r\n") + "hello": "new active idle closed ",
		} {
			c := dial(t, addr)
			c.send(input)
			c.closeWrite()
			c.rest()
			from := c.LocalAddr().String()
			_ = c.Close() // so that the server's close ends
			var got string
			testkit.Until(t, "the last state of "+input, func() bool {
				mu.Lock()
				defer mu.Unlock()
				got = states[from]
				return strings.HasSuffix(got, "closed ") || strings.HasSuffix(got, "hijacked ")
			})
			if got != want {
				t.Errorf("%q: the states are %q, not %q", input, got, want)
			}
		}
	})
}

// The response on a connection above MaxConns is 503.
func TestAConnectionAboveMaxConnsIsRefused(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(serveByPath), MaxConns: 1})
	first := dial(t, addr)
	first.send(get("/empty"))
	first.response()
	second := dial(t, addr)
	second.send(get("/empty"))
	if text := second.rest(); !strings.HasPrefix(text, "HTTP/1.1 503 Service Unavailable\r\n") {
		t.Errorf("the response on the second connection is %q", text)
	}
}

// The address of a client is in RemoteAddr, with PROXY headers that of the client of the proxy.
func TestRemoteAddrIsTheClient(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		s.ProxyProtocol = true
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) { _, _ = io.WriteString(w, req.RemoteAddr) })
		c := dial(t, addr)
		c.send("PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n" + get("/"))
		if resp := c.response(); resp.body != "192.0.2.7:1234" {
			t.Errorf("RemoteAddr is %q", resp.body)
		}
	})
}

// Invalid fields are errors of Serve, which name the field.
func TestInvalidFieldsAreErrors(t *testing.T) {
	for field, s := range map[string]*Server{
		"MaxHeaderBytes": {MaxHeaderBytes: -1},
		"Placement":      {Placement: server.OnWorkers + 1},
		"Protocols":      {Protocols: new(http.Protocols)},
		"Workers":        {Workers: -5},
	} {
		err := s.Serve(listen(t))
		if err == nil || !strings.Contains(err.Error(), field) || !errors.Is(err, ErrInvalid) && !errors.Is(err, server.ErrInvalid) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// After ReadHeaderTimeout and IdleTimeout of the requests before, a slow body is still read.
func TestTheDeadlineOfTheHeadDoesNotEndTheBody(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		clock, begun := testkit.NewClock(), make(chan struct{})
		s.LoopConfig, s.ReadHeaderTimeout, s.IdleTimeout = &event.Config{Clock: clock}, 30*time.Second, 30*time.Second
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			close(begun)
			line, err := bufio.NewReader(req.Body).ReadString('\n')
			fmt.Fprint(w, line, err)
		})
		c := dial(t, addr)
		c.send(post("/", "Content-Length: 3\r\n"))
		testkit.Await(t, begun, "the handler")
		pass(t, s, clock, time.Minute)
		c.send("ab\n")
		if resp := c.response(); resp.body != "ab\n<nil>" {
			t.Errorf("the response is %q", resp.body)
		}
	})
}
