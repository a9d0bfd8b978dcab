package httpd

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The body of a parked request ends with Park. If it is short, the rest is discarded; otherwise, and if the client has not been told to send
// it, the connection is closed after the response, and nothing of the body is read as a request.
func TestTheBodyOfAParkedRequestEndsWithPark(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		late := make(chan error, 1)
		parked := make(chan *Parked, 1)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/next" {
				return
			}
			if req.URL.Path == "/read" {
				_, _ = io.Copy(io.Discard, req.Body) // it is complete
			}
			p, err := Park(w, req, nil)
			testkit.Must(t, err)
			_, err = req.Body.Read(make([]byte, 1))
			late <- err
			parked <- p
		})
		for _, row := range []struct {
			name, input string
			closes      bool
		}{
			{"none", get("/"), false},
			{"short", post("/", "Content-Length: 5\r\n") + "hello", false},
			{"read", post("/read", "Content-Length: 5\r\n") + "hello", false},
			{"chunked", post("/", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n", false},
			{"long", post("/", "Content-Length: 1000000\r\n") + get("/next"), true},
			{"not continued", post("/", "Content-Length: 5\r\nExpect: 100-continue\r\n"), true},
			{"invalid", post("/", "Transfer-Encoding: chunked\r\n") + "x\r\n" + get("/next"), true},
		} {
			t.Run(row.name, func(t *testing.T) {
				c := dial(t, addr)
				c.send(row.input)
				if !row.closes {
					c.send(get("/next"))
				}
				p := testkit.Await(t, parked, "the request")
				if err := testkit.Await(t, late, "the read of the body"); err == nil {
					t.Error("the body can be read after Park")
				}
				write(t, p, "parked")
				testkit.Must(t, p.Close())
				if resp := c.response(); resp.body != "parked" || resp.closes != row.closes {
					t.Errorf("the response is %v", resp)
				}
				if row.closes {
					c.wantEnd()
				} else if resp := c.response(); resp.status != http.StatusOK {
					t.Errorf("the next response is %v", resp)
				}
			})
		}
	})
}

// A client that sends while its request is parked is not read beyond one buffer. Its requests are served afterwards.
func TestAClientThatSendsWhileItIsParkedIsNotRead(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		handler, parked := parking(t, nil)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path != "/next" {
				handler(w, req)
			}
		})
		const requests = 30_000
		c := dial(t, addr)
		c.send(get("/"))
		p := testkit.Await(t, parked, "the request")
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, strings.Repeat(get("/next"), requests))
			sent <- err
		}()
		read := func() uint64 { return p.c.sc.Stats().BytesRead }
		testkit.Until(t, "the first of the requests", func() bool { return read() > 100 })
		other := dial(t, addr)
		for range 20 { // turns of the loop
			other.send(get("/next"))
			other.response()
		}
		if n, held := read(), s.srv.Stats().BufferedBytes; n > 200<<10 || held > 200<<10 {
			t.Errorf("%d bytes were read, %d are held", n, held)
		}
		testkit.Must(t, p.Close())
		for range requests + 1 {
			c.response()
		}
		testkit.Must(t, testkit.Await(t, sent, "the end of the requests"))
	})
}

// Many goroutines write to and end the same response: one of them ends it, and the client sees whole writes.
func TestManyGoroutinesCompleteAParkedResponse(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		handler, parked := parking(t, nil)
		addr := serve(t, s, handler)
		c := dial(t, addr)
		for range 20 {
			c.send(get("/"))
			p := testkit.Await(t, parked, "the request")
			var ends atomic.Int32
			var accepted atomic.Int64
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					for range 10 {
						switch _, err := p.WriteString("12345"); {
						case err == nil:
							accepted.Add(1)
						case !errors.Is(err, ErrEnded):
							t.Errorf("Write: %v", err)
						}
						_ = p.FlushError() // fails at the end
					}
					if i%2 == 0 && p.Close() == nil {
						ends.Add(1)
					}
				})
			}
			all.Wait()
			testkit.WantEqual(t, "ends", ends.Load(), 1)
			if resp := c.response(); resp.body != strings.Repeat("12345", int(accepted.Load())) {
				t.Errorf("the client got %d bytes of %d writes", len(resp.body), accepted.Load())
			}
		}
	})
}

// Parked responses and the members of a group hold no goroutine, and what is kept for them is released when they end.
func TestParkedResponsesHoldNoGoroutine(t *testing.T) {
	n := 300
	if testkit.Full() {
		n = 5000
	}
	s := &Server{}
	handler, parked := parking(t, &ParkConfig{Timeout: -1})
	addr := serve(t, s, handler)
	g := NewGroup(nil)
	first := dial(t, addr)
	first.send(get("/"))
	testkit.Must(t, testkit.Await(t, parked, "the request").Close())
	first.response()
	before := runtime.NumGoroutine()
	var clients []*client
	for range n {
		c := dial(t, addr)
		c.send(get("/"))
		testkit.Must(t, g.Add(testkit.Await(t, parked, "the request")))
		clients = append(clients, c)
	}
	testkit.Until(t, "no more goroutines than before", func() bool { return runtime.NumGoroutine() <= before+2 }) // workers may have started
	testkit.WantEqual(t, "parked requests", s.Parked(), n)
	if refused := g.Complete([]byte("x"), nil); refused != nil {
		t.Errorf("refused: %v", refused)
	}
	for _, c := range clients {
		c.response()
		_ = c.Close() // the test is over
	}
	testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 && s.srv.Stats().OpenConns <= 1 })
}

// Over TLS, too, a parked response is completed, streamed, and told that its client is gone.
func TestParkedResponsesOverTLS(t *testing.T) {
	gone := make(chan error, 1)
	handler, parked := parking(t, &ParkConfig{OnGone: func(_ *Parked, cause error) { gone <- cause }})
	s := &Server{Handler: handler}
	addr, client := startTLS(t, s, false)
	g := NewGroup(nil)
	go func() { _ = g.Add(<-parked) }() // the client sees it
	body := make(chan string, 1)
	go func() {
		resp, err := client.Get("https://" + addr)
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			b = []byte(err.Error())
		}
		body <- string(b)
	}()
	testkit.Until(t, "the member", func() bool { return g.Len() == 1 })
	for range 3 {
		g.Broadcast([]byte(piece), nil)
	}
	g.Complete([]byte("end"), nil)
	testkit.WantEqual(t, "body", testkit.Await(t, body, "the response"), piece+piece+piece+"end")

	go func() { testkit.Must(t, (<-parked).FlushError()) }()
	resp, err := client.Get("https://" + addr)
	testkit.Must(t, err)
	_ = resp.Body.Close() // the client closes the connection, since the response is not complete
	client.CloseIdleConnections()
	if cause := testkit.Await(t, gone, "OnGone"); cause == nil || errors.Is(cause, server.ErrReplyTimeout) {
		t.Errorf("the cause is %v", cause)
	}
}

// Requests park, complete, time out and lose their clients while the server is shut down or closed: Shutdown and Close return, and nothing is
// left.
func TestTheServerEndsWhileRequestsPark(t *testing.T) {
	for i := range 20 {
		s := &Server{Placement: server.Placement(i % 3)}
		g := NewGroup(nil)
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			p, err := Park(w, req, &ParkConfig{Timeout: time.Duration(i%5+1) * time.Millisecond})
			if err != nil {
				return // the connection has ended
			}
			switch len(req.URL.Path) % 3 {
			case 0:
				go func() { _ = p.Close() }() // another end may come first
			case 1:
				_ = g.Add(p) // as above
			}
		})
		addr, served := run(t, s)
		var clients sync.WaitGroup
		for k := range 10 {
			c := dial(t, addr)
			clients.Go(func() {
				for range 30 {
					if _, err := io.WriteString(c, get("/"+strings.Repeat("x", k))); err != nil {
						break
					}
					resp, err := http.ReadResponse(c.r, nil)
					if err != nil {
						break
					}
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						break
					}
					_ = resp.Body.Close() // it was read
				}
				_ = c.Close() // so that the server's close ends
			})
		}
		if i%2 == 0 {
			ctx, cancel := testkit.Soon()
			testkit.Must(t, s.Shutdown(ctx))
			cancel()
		} else {
			testkit.Must(t, s.Close())
		}
		clients.Wait()
		testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
		testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 && g.Len() == 0 })
	}
}
