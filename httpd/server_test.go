package httpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

func TestRequestsOfAConnectionAreServedInTheirOrder(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, req.URL.Path)
	})})
	c := dial(t, addr)
	var all strings.Builder
	for i := range 500 {
		all.WriteString(get(fmt.Sprintf("/%d", i)))
	}
	go func() { _, _ = io.WriteString(c, all.String()) }() // a failure is seen by the reader
	for i := range 500 {
		if resp := c.response(); resp.body != fmt.Sprintf("/%d", i) {
			t.Fatalf("response %d is %q", i, resp.body)
		}
	}
}

func TestDeadlinesHoldInTotal(t *testing.T) {
	clock := testkit.NewClock()
	s := &Server{Handler: http.HandlerFunc(serveByPath), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, LoopConfig: &event.Config{Clock: clock}}
	addr := start(t, s)
	for _, row := range []struct {
		name, input string
		repeated    string // sent each second
		after       time.Duration
	}{
		{"no request", "", "", 10 * time.Second},
		{"a head, byte by byte", "GET / HTTP/1.1\r\nX: ", "x", 10 * time.Second},
		{"the second head, byte by byte", get("/empty") + "GET / HTTP/1.1\r\nX: ", "x", 10 * time.Second},
		{"idle", get("/empty"), "", time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := dial(t, addr)
			c.send(row.input)
			if strings.HasPrefix(row.input, get("/empty")) {
				c.response()
			}
			ended := make(chan struct{})
			go func() { _, _ = io.ReadAll(c.r); close(ended) }() // until the end
			seconds := 0
			testkit.Until(t, "the end of the connection", func() bool {
				select {
				case <-ended:
					return true
				default:
				}
				_, _ = io.WriteString(c, row.repeated) // fails after the end
				pass(t, s, clock, time.Second)
				seconds++
				return false
			})
			if at := time.Duration(seconds) * time.Second; at < row.after {
				t.Errorf("the connection has ended after %v, want %v", at, row.after)
			}
		})
	}
}

func TestConnStateReportsWhatNetHTTPReports(t *testing.T) {
	var mu sync.Mutex
	var states []string
	ended := make(chan struct{}, 10)
	addr := start(t, &Server{Handler: http.HandlerFunc(serveByPath), ConnState: func(_ net.Conn, state http.ConnState) {
		mu.Lock()
		states = append(states, state.String())
		mu.Unlock()
		if state == http.StateClosed || state == http.StateHijacked {
			ended <- struct{}{}
		}
	}})
	c := dial(t, addr)
	c.send(get("/empty"))
	c.response()
	c.send(get("/close"))
	c.response()
	c.wantEnd()
	_ = c.Close() // so that the server's close ends
	testkit.Await(t, ended, "the end of the connection")
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(states, " "); got != "new active idle active closed" {
		t.Errorf("the states are %s", got)
	}
}

func TestAPanicEndsItsConnectionAlone(t *testing.T) {
	var logged syncBuffer
	s := &Server{ErrorLog: log.New(&logged, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/panic" {
			panic("on purpose")
		}
		serveByPath(w, req)
	})}
	addr := start(t, s)
	other := dial(t, addr)
	other.send(get("/empty"))
	other.response()
	c := dial(t, addr)
	c.send(get("/panic"))
	c.wantEnd()
	if text := logged.String(); !strings.Contains(text, "panic serving 127.0.0.1:") || !strings.Contains(text, "on purpose") || !strings.Contains(text, "goroutine ") {
		t.Errorf("the log is %q", text)
	}
	other.send(get("/empty"))
	other.response()
}

func TestShutdownWaitsForRequestsAndClosesIdleConnectionsAtOnce(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/wait" {
			close(begun)
			<-goOn
		}
		fmt.Fprint(w, "done")
	})}
	addr := start(t, s)
	idle, busy := dial(t, addr), dial(t, addr)
	idle.send(get("/empty"))
	idle.response()
	busy.send(get("/wait"))
	testkit.Await(t, begun, "the request")
	called := make(chan struct{})
	s.RegisterOnShutdown(func() { close(called) })
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	testkit.Await(t, called, "the function of RegisterOnShutdown")
	idle.wantEnd()
	select {
	case err := <-ended:
		t.Fatalf("Shutdown has not waited: %v", err)
	default:
	}
	close(goOn)
	if resp := busy.response(); resp.body != "done" || !resp.closes {
		t.Errorf("the response is %q, and announces the end of the connection: %v", resp.body, resp.closes)
	}
	busy.wantEnd()
	_ = busy.Close() // so that the server's close ends
	if err := testkit.Await(t, ended, "the end of Shutdown"); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("ListenAndServe after Shutdown: %v", err)
	}
}

func TestTheContextOfARequestEnds(t *testing.T) {
	contexts := make(chan context.Context, 1)
	goOn := make(chan struct{})
	addr := start(t, &Server{
		BaseContext: func(net.Listener) context.Context { return context.WithValue(context.Background(), key("base"), "b") },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key("conn"), c.RemoteAddr().String())
		},
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			contexts <- req.Context()
			<-goOn
		}),
	})
	c := dial(t, addr)
	c.send(get("/"))
	ctx := testkit.Await(t, contexts, "the request")
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	if ctx.Err() != nil || ctx.Value(key("base")) != "b" || ctx.Value(key("conn")) != c.LocalAddr().String() || ctx.Value(http.LocalAddrContextKey).(net.Addr).String() != addr {
		t.Errorf("the context has %v, %v, %v, %v", ctx.Err(), ctx.Value(key("base")), ctx.Value(key("conn")), ctx.Value(http.LocalAddrContextKey))
	}
	if _, ok := ctx.Value(http.ServerContextKey).(*http.Server); !ok {
		t.Errorf("the value of ServerContextKey is a %T", ctx.Value(http.ServerContextKey))
	}
	t.Run("when the handler has returned", func(t *testing.T) {
		goOn <- struct{}{}
		c.response()
		testkit.Await(t, child.Done(), "the end of a context that is derived from it")
		if !errors.Is(ctx.Err(), context.Canceled) || context.Cause(ctx) == nil {
			t.Errorf("its error is %v, and the cause %v", ctx.Err(), context.Cause(ctx))
		}
	})
	t.Run("when the client closes the connection", func(t *testing.T) {
		c.send(get("/"))
		ctx := testkit.Await(t, contexts, "the request")
		_ = c.Close() // by intention
		testkit.Await(t, ctx.Done(), "the end of the context")
		goOn <- struct{}{}
	})
}

type key string

func TestHTTP2IsServedByNetHTTP(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s %s %v", req.Proto, body, err)
	})}
	addr, client := startTLS(t, s, true)
	resp, err := client.Post("https://"+addr+"/", "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // it was read
	if err != nil || string(got) != "HTTP/2.0 body <nil>" {
		t.Errorf("the response is %q, %v", got, err)
	}
	if testkit.Full() { // net/http waits for a second after GOAWAY
		testkit.Must(t, s.Shutdown(context.Background()))
	}
}

func TestHTTPSIsServedOnTheLoops(t *testing.T) {
	addr, client := startTLS(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintf(w, "%s %v", req.Proto, req.TLS != nil && req.TLS.HandshakeComplete)
	})}, false)
	for range 3 {
		resp, err := client.Get("https://" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if err != nil || string(got) != "HTTP/1.1 true" {
			t.Errorf("the response is %q, %v", got, err)
		}
	}
}

func TestAHijackedConnectionBelongsToTheHandler(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nc, brw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("Write after Hijack: %v", err)
		}
		go func() { // after the handler, as many libraries do it
			defer func() { _ = nc.Close() }() // the client sees it
			for {
				line, err := brw.ReadString('\n')
				if err != nil {
					return
				}
				if _, err := nc.Write([]byte("echo " + line)); err != nil {
					return
				}
			}
		}()
	})})
	c := dial(t, addr)
	c.send(get("/") + "first\n")
	for _, line := range []string{"first\n", "second\n", "third\n"} {
		if line != "first\n" {
			c.send(line)
		}
		if got, err := c.r.ReadString('\n'); err != nil || got != "echo "+line {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.wantEnd()
}

func TestShutdownDoesNotWaitForHijackedConnections(t *testing.T) {
	hijacked := make(chan struct{})
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
		}
		close(hijacked)
		_, _ = nc.Read(make([]byte, 1)) // until the end of the connection
	})}
	c := dial(t, start(t, s))
	c.send(get("/"))
	testkit.Await(t, hijacked, "the request")
	if err := s.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// As with net/http, handlers that wait for other requests do not keep these from being handled.
func TestHundredsOfHandlersMayWait(t *testing.T) {
	const waiting = 500 // more than the workers that a server has at the beginning
	goOn := make(chan struct{})
	var begun sync.WaitGroup
	begun.Add(waiting)
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/wait" {
			begun.Done()
			<-goOn
		}
		fmt.Fprint(w, "done")
	})})
	var clients []*client
	for range waiting {
		c := dial(t, addr)
		c.send(get("/wait"))
		clients = append(clients, c)
	}
	testkit.Within(t, "the begin of all handlers", begun.Wait)
	c := dial(t, addr)
	c.send(get("/"))
	c.response()
	close(goOn)
	for _, c := range clients {
		if resp := c.response(); resp.body != "done" {
			t.Fatalf("the response is %q", resp.body)
		}
	}
}

func TestEachStateHasAText(t *testing.T) {
	for s := range bodyBroken + 1 {
		if s.String() == "" {
			t.Errorf("bodyPhase %d", s)
		}
	}
	for s := range phaseEnded + 1 {
		if s.String() == "" {
			t.Errorf("responsePhase %d", s)
		}
	}
	for s := range serverClosed + 1 {
		if s.String() == "" {
			t.Errorf("serverState %d", s)
		}
	}
}
