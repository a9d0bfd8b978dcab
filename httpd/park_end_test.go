package httpd

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// overfull parks a request of a client with small buffers, whose response may have any length.
func overfull(t *testing.T, s *Server) (c *client, parked chan *Parked) {
	t.Helper()
	s.Socket = server.SocketOptions{WriteBuffer: 64 << 10}
	handler, parked := parking(t, &ParkConfig{MaxPending: -1})
	addr := serve(t, s, handler)
	c = dial(t, addr)
	testkit.Must(t, c.Conn.(*net.TCPConn).SetReadBuffer(16<<10))
	c.send(get("/"))
	return c, parked
}

// overfullText is more than the output of a connection may be.
var overfullText = strings.Repeat("x", 4*server.DefaultMaxOutput)

// endings are responses whose output is full at their end, which has a last chunk, or nothing at all.
var endings = map[string]func(p *Parked){
	"chunks":   func(*Parked) {},
	"a length": func(p *Parked) { p.Header().Set("Content-Length", strconv.Itoa(len(overfullText))) },
}

// The deadline of a response ends with it, also if its output is full when it is closed: the connection serves its next request.
func TestTheDeadlineOfAFullResponseEndsWithIt(t *testing.T) {
	t.Parallel()
	for name, set := range endings {
		t.Run(name, func(t *testing.T) {
			clock := testkit.NewClock()
			c, parked := overfull(t, &Server{WriteTimeout: time.Minute, LoopConfig: &event.Config{Clock: clock}})
			p := testkit.Await(t, parked, "the request")
			set(p)
			write(t, p, overfullText)
			testkit.Must(t, p.Close())
			testkit.WantEqual(t, "bytes", len(c.response().body), len(overfullText))
			clock.Advance(2 * time.Minute) // the loop is idle, or about to give the connection back
			c.send(get("/"))
			p = testkit.Await(t, parked, "the next request")
			testkit.Must(t, p.Close())
			c.response()
		})
	}
}

// A connection that is closed after a response whose output was full waits for its client as others do, CloseTimeout.
func TestTheCloseAfterAFullResponseMeetsItsDeadline(t *testing.T) {
	t.Parallel()
	for name, set := range endings {
		t.Run(name, func(t *testing.T) {
			clock := testkit.NewClock()
			s := &Server{LoopConfig: &event.Config{Clock: clock}, IdleTimeout: 1000 * time.Hour}
			c, parked := overfull(t, s)
			p := testkit.Await(t, parked, "the request")
			set(p)
			p.Header().Set("Connection", "close")
			write(t, p, overfullText)
			testkit.Must(t, p.Close())
			testkit.WantEqual(t, "bytes", len(c.response().body), len(overfullText))
			testkit.Until(t, "the end of the connection, which the client keeps open", func() bool {
				clock.Advance(time.Second)
				return s.srv.Stats().OpenConns == 0
			})
		})
	}
}

// Complete is accepted by a member whose output is full, as Close is, and the outcome is that of all of its response: it is not told before the
// last byte was given to the kernel, and it is told when the connection ends before.
func TestTheOutcomeOfCompleteIsThatOfTheWholeResponse(t *testing.T) {
	t.Parallel()
	for name, set := range endings {
		for _, end := range []string{"read", "reset", "abort"} {
			t.Run(name+", "+end, func(t *testing.T) {
				s := &Server{}
				c, parked := overfull(t, s)
				p := testkit.Await(t, parked, "the request")
				set(p)
				write(t, p, overfullText)
				g := NewGroup(nil)
				testkit.Must(t, g.Add(p))
				outcome := make(chan error, 2)
				if refused := g.Complete(nil, func(_ *Parked, err error) { outcome <- err }); refused != nil {
					t.Fatalf("refused: %v", refused)
				}
				if len(outcome) > 0 {
					t.Errorf("the outcome is %v before the client reads", <-outcome)
				}
				switch end {
				case "read":
					testkit.WantEqual(t, "bytes", len(c.response().body), len(overfullText))
				case "reset":
					c.reset()
				case "abort":
					p.Abort()
					_ = c.Close() // so that a connection that is not aborted ends, too
				}
				if err := testkit.Await(t, outcome, "the outcome"); (err == nil) != (end == "read") {
					t.Errorf("the outcome is %v", err)
				}
				testkit.Until(t, "the end", func() bool { return s.Parked() == 0 })
				if len(outcome) > 0 {
					t.Error("the outcome is told twice")
				}
			})
		}
	}
}

// The first broadcast of a response is accepted or refused as a whole: if the result has no error for a member, its outcome is told, and otherwise
// nothing of it is sent.
func TestAFirstBroadcastIsAcceptedOrRefusedAsAWhole(t *testing.T) {
	c, parked := overfull(t, &Server{})
	p := testkit.Await(t, parked, "the request")
	g := NewGroup(&GroupConfig{KeepSlow: true})
	testkit.Must(t, g.Add(p))
	outcome := make(chan error, 1)
	refused := g.Broadcast([]byte(overfullText), func(_ *Parked, err error) { outcome <- err })
	testkit.Must(t, p.Close())
	if n := len(c.response().body); n > 0 && refused != nil || n == 0 && refused == nil {
		t.Errorf("refused: %v; the client got %d bytes", refused, n)
	}
	if refused == nil {
		testkit.Must(t, testkit.Await(t, outcome, "the outcome"))
	}
}

// The text of a refused broadcast is not sent later, also if it was gathered behind bytes of the program.
func TestARefusedFirstBroadcastLeavesNothing(t *testing.T) {
	for name, text := range map[string]string{"nothing is gathered": "", "bytes are gathered": "begin"} {
		t.Run(name, func(t *testing.T) {
			handler, parked := parking(t, nil)
			c := dial(t, start(t, &Server{Handler: handler}))
			c.send(get("/"))
			p := testkit.Await(t, parked, "the request")
			write(t, p, text)
			g := NewGroup(&GroupConfig{KeepSlow: true})
			testkit.Must(t, g.Add(p))
			told := make(chan error, 3)
			testkit.Must(t, p.c.sc.Loop().Post(func() { // on the loop, which therefore does not notice the deadline
				testkit.Must(t, p.SetWriteDeadline(time.Now()))
				for range 3 {
					refused := g.Broadcast([]byte("news"), func(_ *Parked, err error) { told <- err })
					if len(refused) != 1 || !errors.Is(refused[0], os.ErrDeadlineExceeded) {
						t.Errorf("refused: %v", refused)
					}
				}
				testkit.Must(t, p.SetWriteDeadline(time.Time{}))
				testkit.Must(t, p.Close())
			}))
			testkit.WantEqual(t, "body", c.response().body, text)
			testkit.WantEqual(t, "outcomes of broadcasts that were refused", len(told), 0)
		})
	}
}

// The trailer is what the header has at the end of the response, whenever the program has asked for it, and whatever is written meanwhile.
func TestTheTrailerOfAParkedResponseIsKept(t *testing.T) {
	const key = http.TrailerPrefix + "X-T"
	rows := map[string]func(p *Parked){
		"asked for before the head": func(p *Parked) {
			header := p.Header()
			testkit.Must(t, p.FlushError())
			header.Set(key, "v")
			write(t, p, "more")
		},
		"asked for before a broadcast": func(p *Parked) {
			testkit.Must(t, p.FlushError())
			p.Header().Set(key, "v")
			g := NewGroup(nil)
			testkit.Must(t, g.Add(p))
			if refused := g.Broadcast([]byte("more"), nil); refused != nil {
				t.Errorf("refused: %v", refused)
			}
		},
		"changed": func(p *Parked) {
			testkit.Must(t, p.FlushError())
			p.Header().Set(key, "old")
			write(t, p, "mo")
			p.Header().Set(key, "v")
			write(t, p, "re")
		},
	}
	handler, parked := parking(t, nil)
	addr := serve(t, &Server{}, handler)
	for name, use := range rows {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			c.send(get("/"))
			p := testkit.Await(t, parked, "the request")
			use(p)
			testkit.Must(t, p.Close())
			resp, err := http.ReadResponse(c.r, nil)
			testkit.Must(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if string(body) != "more" || err != nil || resp.Trailer.Get("X-T") != "v" {
				t.Errorf("the body is %q, %v, the trailer %v", body, err, resp.Trailer)
			}
		})
	}
}

// The connection of a client that has closed its sending half ends with the response, also if the head is sent after that.
func TestAHalfClosedConnectionEndsWithAParkedResponse(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		gone := make(chan error, 1)
		handler, parked := parking(t, &ParkConfig{OnGone: func(_ *Parked, cause error) { gone <- cause }})
		addr := serve(t, s, handler)
		for name, begin := range map[string]func(p *Parked){
			"not begun": func(*Parked) {},
			"flushed":   func(p *Parked) { testkit.Must(t, p.FlushError()) },
			"a broadcast": func(p *Parked) {
				g := NewGroup(nil)
				g.members = []*Parked{p} // Add refuses it, but the client may go during a broadcast
				g.Broadcast([]byte("x"), nil)
			},
		} {
			c := dial(t, addr)
			c.send(get("/"))
			p := testkit.Await(t, parked, "the request")
			c.closeWrite()
			testkit.Await(t, gone, "OnGone")
			begin(p)
			write(t, p, "more")
			testkit.Must(t, p.Close())
			if text, err := io.ReadAll(c.r); !strings.Contains(string(text), "more") || err != nil {
				t.Errorf("%s: the client has read %q, %v", name, text, err)
			}
		}
	})
}

// A connection that is reset while the handler of a parked request runs ends after it, also if the client has sent another request, which would
// wait for the response.
func TestAResetBeforeTheReturnOfTheHandlerEndsAParkedResponse(t *testing.T) {
	for _, closed := range []bool{false, true} {
		gone := make(chan error, 1)
		begun := make(chan *Parked, 1)
		s := &Server{Placement: server.OnWorkers}
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			p, err := Park(w, req, &ParkConfig{OnGone: func(_ *Parked, cause error) { gone <- cause }})
			testkit.Must(t, err)
			begun <- p
			testkit.Await(t, p.c.sc.Context().Done(), "the reset")
			if closed {
				testkit.WantErr(t, p.Close(), server.ErrClosed)
			}
		})
		c := dial(t, addr)
		c.send(get("/") + get("/next"))
		p := testkit.Await(t, begun, "the request")
		testkit.Until(t, "the next request", func() bool { return p.c.sc.Stats().BytesRead == uint64(len(get("/")+get("/next"))) })
		c.reset()
		if !closed {
			testkit.WantErr(t, testkit.Await(t, gone, "OnGone"), syscall.ECONNRESET)
		}
		testkit.Until(t, "the end of the connection", func() bool { return s.Parked() == 0 && s.srv.Stats().OpenConns == 0 })
	}
}
