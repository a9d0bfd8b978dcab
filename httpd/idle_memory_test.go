package httpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/internal/tlsio/tlstest"
	"github.com/evmq/evmq/server"
)

// usual has what handlers do with a request, besides the response.
var usual = map[string]func(w http.ResponseWriter, r *http.Request){
	"nothing": func(http.ResponseWriter, *http.Request) {},
	"a wait for the context": func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		default:
		}
	},
	"a derived context": func(_ http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		_ = ctx.Err()
	},
	"a function after the context": func(_ http.ResponseWriter, r *http.Request) { context.AfterFunc(r.Context(), func() {}) },
	"Flush":                        func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
	"a long response":              func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100<<10)) },
	"CloseNotify":                  func(w http.ResponseWriter, _ *http.Request) { w.(http.CloseNotifier).CloseNotify() }, //nolint:staticcheck // that is tested
}

// An idle connection takes up no more memory after a request whose handler has used its context, or done other usual things, than after one
// whose handler has not. The memory is that after a collection, with that of the client.
func TestWhatAHandlerUsesTakesUpNoMemoryOfItsIdleConnection(t *testing.T) {
	const few, many, most = 50, 350, 100
	slope := func(do func(http.ResponseWriter, *http.Request)) int64 {
		s := &Server{NumLoops: 1, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			do(w, r)
			hello(w, r)
		})}
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		testkit.Must(t, err)
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		clients := make([]net.Conn, 0, many)
		reader := bufio.NewReader(nil)
		hold := func(n int) {
			for range n {
				nc, err := net.Dial("unix", l.Addr().String())
				testkit.Must(t, err)
				clients = append(clients, nc)
				reader.Reset(nc)
				c := &client{t, nc, reader}
				c.send(get("/"))
				c.response()
			}
		}
		hold(few)
		before := tlstest.Heap()
		hold(many - few)
		grown := (tlstest.Heap() - before) / (many - few)
		for _, c := range clients {
			testkit.Must(t, c.Close())
		}
		testkit.Must(t, s.Close())
		testkit.WantErr(t, testkit.Await(t, done, "the end of Serve"), http.ErrServerClosed)
		return grown
	}
	bare := slope(usual["nothing"])
	for name, do := range usual {
		if got := slope(do); got > bare+most {
			t.Errorf("%s: %d bytes, without %d", name, got, bare)
		}
	}
}

// As above, with TLS.
func TestAContextTakesUpNoMemoryOfAnIdleHTTPSConnection(t *testing.T) {
	const few, many, most = 20, 120, 200
	config, err := tlstest.Config()
	testkit.Must(t, err)
	e := tlstest.Exchange{Version: tls.VersionTLS13, Request: []byte(get("/")), Reply: helloLength}
	var slopes [2][]int64
	for i := range 6 {
		s := &Server{NumLoops: 1, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if i%2 == 1 {
				usual["a derived context"](w, r)
			}
			hello(w, r)
		})}
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), fmt.Sprint(i)))
		testkit.Must(t, err)
		done := make(chan error, 1)
		go func() { done <- s.ServeTLS(l, "", "") }()
		idle := &idleHTTPS{addr: l.Addr()}
		idle.hold(t, few, e)
		before := tlstest.Heap()
		idle.hold(t, many-few, e)
		slopes[i%2] = append(slopes[i%2], (tlstest.Heap()-before)/(many-few))
		for _, c := range idle.clients {
			testkit.Must(t, c.Close())
		}
		testkit.Must(t, s.Close())
		testkit.WantErr(t, testkit.Await(t, done, "the end of ServeTLS"), http.ErrServerClosed)
	}
	slices.Sort(slopes[0])
	slices.Sort(slopes[1])
	if slopes[1][1] > slopes[0][1]+most {
		t.Errorf("%d bytes, without the context %d", slopes[1], slopes[0])
	}
}

// The timer of WriteTimeout is made for the first request, and kept while requests follow each other. When it fires on an idle connection, the
// connection has none of it any more, until the next request.
func TestAnIdleConnectionDropsItsWriteTimer(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		clock, conns := testkit.NewClock(), make(chan *server.Conn, 1)
		s.LoopConfig, s.WriteTimeout, s.IdleTimeout = &event.Config{Clock: clock}, time.Minute, time.Hour
		s.ConnState = func(nc net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns <- nc.(connInfo).c.sc
			}
		}
		c := dial(t, serve(t, s, hello))
		for range 3 {
			c.send(get("/"))
			c.response()
		}
		sc := testkit.Await(t, conns, "the connection")
		for range 2 {
			c.send(get("/"))
			c.response()
			turn := make(chan struct{})
			sc.AfterFunc(0, func() { close(turn) }) // then the loop has noted that the response was sent
			testkit.Await(t, turn, "a turn of the loop")
			if sc.Value() == nil {
				t.Error("there is no timer after a request")
			}
			clock.Advance(time.Minute)
			testkit.Until(t, "a connection without a timer", func() bool { return sc.Value() == nil })
		}
	})
}
