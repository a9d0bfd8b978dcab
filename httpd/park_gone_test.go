package httpd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// told is what a parked request and its context learn.
type told struct {
	p     *Parked
	ctx   context.Context
	gone  chan error
	after chan error // of a function of context.AfterFunc
}

// telling is a handler that parks requests and watches them: the context from before Park, or, with /later, from after its return.
func telling(t *testing.T, all chan *told) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		x := &told{gone: make(chan error, 2), after: make(chan error, 1), ctx: req.Context()}
		watch := func() { context.AfterFunc(x.ctx, func() { x.after <- context.Cause(x.ctx) }) }
		later := strings.HasPrefix(req.URL.Path, "/later")
		if !later {
			watch()
		}
		p, err := Park(w, req, &ParkConfig{Timeout: -1, OnGone: func(_ *Parked, cause error) { x.gone <- cause }})
		if err != nil {
			t.Errorf("Park: %v", err)
			return
		}
		if strings.HasSuffix(req.URL.Path, "/stream") {
			testkit.Must(t, p.FlushError())
		}
		x.p = p
		if later {
			go func() { // perhaps after the return of the handler
				watch()
				all <- x
			}()
			return
		}
		all <- x
	}
}

// When the client goes away, the context of a parked request ends, and OnGone is called, once. The Parked of a client that has only closed its
// sending half can be written.
func TestAParkedRequestLearnsThatItsClientIsGone(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		all := make(chan *told, 1)
		addr := serve(t, s, telling(t, all))
		for _, row := range []struct {
			name, input string
			leave       func(*client)
			writes      bool // the client reads what the program writes
			cause       error
		}{
			{"close", get("/"), func(c *client) { _ = c.Close() }, false, server.ErrPeerClosed},
			{"close, later", get("/later"), func(c *client) { _ = c.Close() }, false, server.ErrPeerClosed},
			{"close of the sending side", get("/"), (*client).closeWrite, true, server.ErrPeerClosed},
			{"close of the sending side of a stream", get("/later/stream"), (*client).closeWrite, true, server.ErrPeerClosed},
			{"close after a body", post("/", "Content-Length: 5\r\n") + "hello", func(c *client) { _ = c.Close() }, false, server.ErrPeerClosed},
			{"reset", get("/"), (*client).reset, false, nil},
			{"reset of a stream", get("/later/stream"), (*client).reset, false, nil},
			{"reset after a pipelined request", get("/later") + get("/"), (*client).reset, false, nil},
		} {
			t.Run(row.name, func(t *testing.T) {
				c := dial(t, addr)
				c.send(row.input)
				x := testkit.Await(t, all, "the request")
				if x.ctx.Err() != nil {
					t.Errorf("before the end: %v", x.ctx.Err())
				}
				row.leave(c)
				cause := testkit.Await(t, x.gone, "OnGone")
				if row.cause != nil && !errors.Is(cause, row.cause) || cause == nil {
					t.Errorf("the cause is %v", cause)
				}
				if after := testkit.Await(t, x.after, "the function of AfterFunc"); after == nil {
					t.Error("the context has no cause")
				}
				testkit.WantErr(t, x.ctx.Err(), context.Canceled)
				switch {
				case row.writes:
					write(t, x.p, "hello")
					testkit.Must(t, x.p.Close())
					if text := c.rest(); !strings.Contains(text, "hello") {
						t.Errorf("the client has read %q", text)
					}
				case row.cause == nil:
					_, err := x.p.WriteString("x")
					testkit.WantErr(t, err, server.ErrClosed)
					testkit.WantErr(t, x.p.Close(), server.ErrClosed)
				default:
					x.p.Abort()
				}
				select {
				case again := <-x.gone:
					t.Errorf("OnGone was called again with %v", again)
				default:
				}
			})
		}
		testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 })
	})
}

// The context ends with the response, and not with the handler. Then OnGone is not called.
func TestTheContextOfAParkedRequestEndsWithItsResponse(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		all := make(chan *told, 1)
		addr := serve(t, s, telling(t, all))
		for _, path := range []string{"/", "/later", "/later/stream"} {
			for name, end := range map[string]func(*Parked){"Close": func(p *Parked) { testkit.Must(t, p.Close()) }, "Abort": (*Parked).Abort} {
				c := dial(t, addr)
				c.send(get(path))
				x := testkit.Await(t, all, "the request")
				child, cancel := context.WithCancel(x.ctx)
				defer cancel()
				if x.ctx.Err() != nil {
					t.Errorf("%s, before %s: %v", path, name, x.ctx.Err())
				}
				end(x.p)
				testkit.Await(t, child.Done(), "the end of the context")
				if cause := testkit.Await(t, x.after, "the function of AfterFunc"); !errors.Is(cause, context.Canceled) {
					t.Errorf("%s, %s: the cause is %v", path, name, cause)
				}
				c.rest2(name == "Abort")
				select {
				case cause := <-x.gone:
					t.Errorf("OnGone was called with %v", cause)
				default:
				}
			}
		}
	})
}

// rest2 reads a response, or up to the end of the connection.
func (c *client) rest2(all bool) {
	if all {
		c.rest()
	} else {
		c.response()
	}
}

// Shutdown waits for parked requests. Their contexts end, OnGone is called, and the program finishes them; the responses are complete, and the
// connections end. Idle connections are closed at once.
func TestShutdownWaitsForParkedRequests(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		all := make(chan *told, 3)
		s.Handler = telling(t, all)
		hooked := make(chan struct{})
		s.RegisterOnShutdown(func() { close(hooked) })
		addr, served := run(t, s)
		var clients []*client
		var parked []*told
		for _, path := range []string{"/", "/later", "/stream"} {
			c := dial(t, addr)
			c.send(get(path))
			clients, parked = append(clients, c), append(parked, testkit.Await(t, all, "the request"))
		}
		idle := dial(t, addr)
		idle.send("GET")
		idle2 := dial(t, addr)
		idle2.send(get("/"))
		x := testkit.Await(t, all, "the request")
		testkit.Must(t, x.p.Close())
		idle2.response()

		ended := make(chan error, 1)
		ctx, cancel := testkit.Soon()
		defer cancel()
		go func() { ended <- s.Shutdown(ctx) }()
		testkit.Await(t, hooked, "the function of RegisterOnShutdown")
		idle2.rest()
		_ = idle2.Close() // so that the server's close ends
		_ = idle.Close()  // as above
		for i, x := range parked {
			testkit.WantErr(t, testkit.Await(t, x.gone, "OnGone"), http.ErrServerClosed)
			testkit.WantErr(t, testkit.Await(t, x.after, "the function of AfterFunc"), http.ErrServerClosed)
			select {
			case err := <-ended:
				t.Fatalf("Shutdown has ended with %v before the parked requests", err)
			default:
			}
			write(t, x.p, "last words")
			testkit.Must(t, x.p.Close())
			if resp := clients[i].response(); resp.body != "last words" {
				t.Errorf("response %d is %v", i, resp)
			}
			clients[i].rest()
			_ = clients[i].Close() // so that the server's close ends
		}
		testkit.Must(t, testkit.Await(t, ended, "the end of Shutdown"))
		testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
		testkit.WantEqual(t, "parked requests", s.Parked(), 0)
	})
}

// A request that parks when Shutdown has begun is waited for, too. If Shutdown's context ends, or by Close, parked requests end.
func TestParkedRequestsEndWithTheServer(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		for _, late := range []bool{false, true} {
			t.Run(map[bool]string{false: "before Shutdown", true: "during Shutdown"}[late], func(t *testing.T) {
				s := &Server{Placement: s.Placement}
				all := make(chan *told, 1)
				begun, goOn := make(chan struct{}, 1), make(chan struct{})
				park := telling(t, all)
				s.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					begun <- struct{}{}
					<-goOn
					park(w, req)
				})
				hooked := make(chan struct{})
				s.RegisterOnShutdown(func() { close(hooked) })
				addr, served := run(t, s)
				c := dial(t, addr)
				c.send(get("/"))
				testkit.Await(t, begun, "the request")
				var x *told
				if !late {
					close(goOn)
					x = testkit.Await(t, all, "the parked request")
				}
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- s.Shutdown(ctx) }()
				testkit.Await(t, hooked, "Shutdown")
				if late {
					close(goOn)
					x = testkit.Await(t, all, "the parked request")
				}
				testkit.WantErr(t, testkit.Await(t, x.gone, "OnGone"), http.ErrServerClosed)
				testkit.Must(t, x.p.FlushError())
				cancel()
				testkit.WantErr(t, testkit.Await(t, ended, "the end of Shutdown"), context.Canceled)
				testkit.WantErr(t, x.p.Close(), server.ErrClosed)
				c.rest()
				testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
				testkit.WantEqual(t, "parked requests", s.Parked(), 0)
			})
		}
	})
}

// Output for a client that does not read is limited by MaxPending: the Write that finds it is refused, and nothing of it is sent. When the client
// reads, writes are accepted again. Notify tells when the kernel has all, or why it has not.
func TestTheOutputOfAParkedResponseIsLimited(t *testing.T) {
	t.Parallel()
	eachPlacement(t, func(t *testing.T, s *Server) {
		const limit = 100_000
		for name, cfg := range map[string]*ParkConfig{"own": {MaxPending: limit}, "default": {}, "none": {MaxPending: -1}} {
			s := &Server{Placement: s.Placement, Socket: server.SocketOptions{WriteBuffer: 64 << 10}}
			handler, parked := parking(t, cfg)
			addr := serve(t, s, handler)
			c := dial(t, addr)
			testkit.Must(t, c.Conn.(*net.TCPConn).SetReadBuffer(16<<10))
			c.send(get("/"))
			p := testkit.Await(t, parked, "the request")
			written := p.fill(t, addr, parked)
			want := map[string]int{"own": limit, "default": DefaultMaxPending, "none": server.DefaultMaxOutput}[name]
			if n := p.Pending(); n > want+2*len(piece) {
				t.Errorf("%s: %d bytes wait, the limit is %d", name, n, want)
			}
			outcome := make(chan error, 1)
			notify := func(err error) { outcome <- err }
			if name == "none" { // nothing is accepted at the limit of the connection
				more, err := p.fillOnLoop(t, notify)
				testkit.WantErr(t, err, server.ErrFull)
				written += more
				notify(nil)
			} else {
				testkit.Must(t, p.Notify(notify))
				select {
				case err := <-outcome:
					t.Errorf("%s: Notify says %v before the client reads", name, err)
				default:
				}
			}
			testkit.Must(t, p.Close()) // the last chunk has no room at the limit of the connection, and is sent later
			if resp := c.response(); resp.body != strings.Repeat(piece, written) {
				t.Errorf("%s: %d bytes have arrived of %d", name, len(resp.body), written*len(piece))
			}
			testkit.Must(t, testkit.Await(t, outcome, "the outcome"))
			c.send(get("/"))
			p = testkit.Await(t, parked, "the next request")
			p.fill(t, addr, parked)
			if name == "none" {
				continue
			}
			testkit.Must(t, p.Notify(notify))
			c.reset()
			if err := testkit.Await(t, outcome, "the outcome"); err == nil {
				t.Errorf("%s: the kernel has what the client has not read", name)
			}
			testkit.Until(t, "the end", func() bool { return errors.Is(p.Close(), server.ErrClosed) })
			testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 })
		}
	})
}

// piece is a part of a response.
var piece = strings.Repeat("x", 10_000)

// fill writes pieces until one is refused because the client does not read, and returns their number. addr is that of the server, which
// parks each request and has one loop.
func (p *Parked) fill(t *testing.T, addr string, parked chan *Parked) (written int) {
	t.Helper()
	turn := dial(t, addr)
	defer turn.Close()
	for sent := ^uint64(0); ; {
		n, err := p.WriteString(piece)
		if err == nil {
			written++
			continue
		}
		testkit.WantErr(t, err, server.ErrFull)
		testkit.WantEqual(t, "accepted bytes of a refused write", n, 0)
		before := sent
		if sent = p.c.sc.Stats().BytesWritten; sent == before { // the kernel accepts nothing
			return written
		}
		for range 2 { // turns of the loop, in each of which it writes something unless the kernel's buffer is full
			turn.send(get("/"))
			testkit.Must(t, testkit.Await(t, parked, "a request").Close())
			turn.response()
		}
	}
}

// fillOnLoop writes pieces until one is refused, and then calls Notify. It does both on the loop, which gives the kernel no output meanwhile: the
// kernel may have accepted some more since fill. It returns the number of pieces, and the error of Notify.
func (p *Parked) fillOnLoop(t *testing.T, notify func(error)) (written int, err error) {
	t.Helper()
	refused := make(chan error, 1)
	testkit.Must(t, p.c.sc.Loop().Post(func() {
		for {
			if _, err := p.WriteString(piece); err != nil {
				testkit.CheckErr(t, "Write", err, server.ErrFull)
				break
			}
			written++
		}
		refused <- p.Notify(notify)
	}))
	err = testkit.Await(t, refused, "the call of Notify")
	return written, err
}

// A client that does not read ends by WriteTimeout of the ParkConfig. While no output waits, there is no deadline for it.
func TestAParkedClientThatDoesNotReadMeetsADeadline(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		clock := testkit.NewClock()
		s.LoopConfig, s.Socket = &event.Config{Clock: clock}, server.SocketOptions{WriteBuffer: 64 << 10}
		gone := make(chan error, 1)
		handler, parked := parking(t, &ParkConfig{Timeout: -1, WriteTimeout: time.Minute, OnGone: func(_ *Parked, cause error) { gone <- cause }})
		addr := serve(t, s, handler)
		c := dial(t, addr)
		testkit.Must(t, c.Conn.(*net.TCPConn).SetReadBuffer(16<<10))
		c.send(get("/"))
		p := testkit.Await(t, parked, "the request")
		pass(t, s, clock, 100*time.Hour)
		p.fill(t, addr, parked)
		testkit.Until(t, "the end", func() bool { // the kernel may accept some more, which begins the time again
			_, _ = p.WriteString(piece) // is refused, or fills up what the kernel has accepted
			pass(t, s, clock, 30*time.Second)
			return len(gone) > 0
		})
		testkit.WantErr(t, testkit.Await(t, gone, "the end"), os.ErrDeadlineExceeded)
	})
}

// WriteTimeout of the server, and SetWriteDeadline, apply to parked responses as to others.
func TestWriteDeadlinesApplyToParkedResponses(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		clock := testkit.NewClock()
		s.LoopConfig, s.WriteTimeout = &event.Config{Clock: clock}, time.Minute
		handler, parked := parking(t, &ParkConfig{Timeout: -1})
		addr := serve(t, s, handler)
		c := dial(t, addr)
		c.send(get("/"))
		p := testkit.Await(t, parked, "the request")
		pass(t, s, clock, 30*time.Second)
		write(t, p, "x")
		testkit.Must(t, p.Close())
		if resp := c.response(); resp.body != "x" {
			t.Errorf("the response is %v", resp)
		}
		c.send(get("/"))
		p = testkit.Await(t, parked, "the request")
		testkit.Must(t, http.NewResponseController(p).SetWriteDeadline(time.Time{}))
		pass(t, s, clock, time.Hour)
		testkit.Must(t, p.FlushError())
		testkit.Must(t, p.SetWriteDeadline(time.Now().Add(-time.Second)))
		_, err := io.WriteString(p, "x")
		testkit.WantErr(t, err, os.ErrDeadlineExceeded)
		if text := c.rest(); strings.Contains(text, "x\r\n") {
			t.Errorf("the client has read %q", text)
		}
	})
}
