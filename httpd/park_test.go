package httpd

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// parking is a handler that parks each request and passes it on.
func parking(t *testing.T, cfg *ParkConfig) (handler http.HandlerFunc, parked chan *Parked) {
	parked = make(chan *Parked, 100)
	return func(w http.ResponseWriter, req *http.Request) {
		p, err := Park(w, req, cfg)
		if err != nil {
			t.Errorf("Park: %v", err)
			return
		}
		parked <- p
	}, parked
}

// write writes to a parked response, which accepts it.
func write(t *testing.T, p *Parked, text string) {
	t.Helper()
	if n, err := p.WriteString(text); n != len(text) || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
}

// A step is a part of what a handler does for a response.
type step func(w http.ResponseWriter)

// responseSteps are the steps of responses, by name.
func responseSteps() map[string][]step {
	text := func(text string) step { return func(w http.ResponseWriter) { _, _ = io.WriteString(w, text) } }
	flush := func(w http.ResponseWriter) { w.(http.Flusher).Flush() }
	status := func(n int) step { return func(w http.ResponseWriter) { w.WriteHeader(n) } }
	set := func(key, value string) step { return func(w http.ResponseWriter) { w.Header().Set(key, value) } }
	long := strings.Repeat("0123456789", 500)
	return map[string][]step{
		"nothing":                      {},
		"short":                        {text("hello")},
		"in parts":                     {text("<html>"), text("more")},
		"long":                         {text(long)},
		"long in parts":                {text(long[:2000]), text(long[2000:]), text("end")},
		"flushed":                      {flush, text("a"), flush, text("b")},
		"a status":                     {status(http.StatusTeapot), text("x")},
		"a status and no body":         {status(http.StatusNoContent)},
		"a body that is not permitted": {status(http.StatusNotModified), text("x")},
		"a length":                     {set("Content-Length", "5"), text("hel"), flush, text("lo")},
		"a length that is too small":   {set("Content-Length", "2"), text("hello")},
		"a length that is too large":   {set("Content-Length", "9"), text("hello")},
		"fields":                       {set("X-A", "1"), set("Content-Type", "text/x"), text("y")},
		"fields after the head":        {text("y"), flush, set("X-A", "1"), text("z")},
		"a trailer":                    {set("Trailer", "X-T"), text("y"), flush, set("X-T", "v")},
		"a trailer not announced":      {text("y"), flush, set(http.TrailerPrefix+"X-U", "v")},
		"a trailer before more":        {text("y"), flush, set(http.TrailerPrefix+"X-U", "v"), text("z"), flush, text("end")},
		"a trailer and fields":         {set("X-A", "1"), text("y"), flush, set(http.TrailerPrefix+"X-U", "v"), set("X-B", "1"), text("z")},
		"a trailer without a body":     {flush, set(http.TrailerPrefix+"X-U", "v"), text("z")},
		"an early hint":                {set("Link", "</a>"), status(http.StatusEarlyHints), text("y")},
		"closing":                      {set("Connection", "close"), text("y")},
		"identity":                     {set("Transfer-Encoding", "identity"), text("y"), flush, text("z")},
		"status twice":                 {status(http.StatusAccepted), status(http.StatusOK), flush, status(http.StatusOK), text("x")},
	}
}

// stepping is a handler that runs the steps that X-Row names: without X-Plain, after the first ones it parks the request, and passes on what
// runs the others.
func stepping(t *testing.T, rows map[string][]step, first int, parked chan func()) http.HandlerFunc {
	run := func(w http.ResponseWriter, steps []step) {
		for _, s := range steps {
			s(w)
		}
	}
	return func(w http.ResponseWriter, req *http.Request) {
		steps := rows[req.Header.Get("X-Row")]
		if req.Header.Get("X-Plain") != "" {
			run(w, steps)
			return
		}
		first := min(first, len(steps))
		run(w, steps[:first])
		p, err := Park(w, req, nil)
		if err != nil {
			t.Errorf("Park: %v", err)
			return
		}
		parked <- func() {
			run(p, steps[first:])
			testkit.Must(t, p.Close())
		}
	}
}

// The response of a parked request is, byte by byte, that of a handler which does the same without parking.
func TestAParkedResponseIsThatOfAHandler(t *testing.T) {
	requests := map[string]string{
		"1.1": get("/"), "HEAD": strings.Replace(get("/"), "GET", "HEAD", 1), "1.0": "GET / HTTP/1.0\r\n\r\n",
		"1.0 keep-alive": "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "close": get("/", "Connection: close\r\n"),
		"a body": post("/", "Content-Length: 3\r\n") + "abc",
	}
	rows := responseSteps()
	for first := range 2 {
		parked := make(chan func(), 1)
		addr := start(t, &Server{Handler: stepping(t, rows, first, parked)})
		for name := range rows {
			for kind, request := range requests {
				read := func(more string, complete func()) string {
					c := dial(t, addr)
					c.send(strings.Replace(request, "\r\n", "\r\nX-Row: "+name+"\r\n"+more, 1) + get("/end", "X-Plain: 1\r\n"))
					complete()
					c.closeWrite()
					text := c.rest()
					_ = c.Close() // it has ended
					return dateLine.ReplaceAllString(text, "")
				}
				want := read("X-Plain: 1\r\n", func() {})
				got := read("", func() { testkit.Await(t, parked, "the request")() })
				if got != want {
					t.Errorf("%s, %s, parked after %d steps:\n%q, want\n%q", name, kind, first, got, want)
				}
			}
		}
	}
}

// A parked request holds no goroutine; other requests, also more than there are workers, are served, and each response goes to its client.
func TestParkedRequestsHoldNoWorker(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		const n = 40
		s.Workers = 2
		handler, parked := parking(t, nil)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/quick" {
				return
			}
			handler(w, req)
		})
		var clients []*client
		var all []*Parked
		for range n {
			c := dial(t, addr)
			c.send(get("/"))
			clients, all = append(clients, c), append(all, testkit.Await(t, parked, "the request"))
		}
		testkit.WantEqual(t, "parked requests", s.Parked(), n)
		other := dial(t, addr)
		other.send(get("/quick"))
		other.response()
		for i, p := range all {
			go func() {
				write(t, p, fmt.Sprint(i))
				testkit.Must(t, p.Close())
			}()
		}
		for i, c := range clients {
			if resp := c.response(); resp.body != fmt.Sprint(i) {
				t.Errorf("client %d got %q", i, resp.body)
			}
		}
		testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 })
	})
}

// The requests that follow a parked one on its connection are served after it, also when they arrive meanwhile.
func TestRequestsAfterAParkedOneWaitForIt(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		handler, parked := parking(t, nil)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			if strings.HasPrefix(req.URL.Path, "/park") {
				handler(w, req)
				return
			}
			_, _ = io.WriteString(w, req.URL.Path)
		})
		c := dial(t, addr)
		c.send(get("/a") + get("/park1") + get("/b") + get("/park2"))
		for round := range 3 {
			if resp := c.response(); resp.body != []string{"/a", "/b", "/c"}[round] {
				t.Errorf("the response is %q", resp.body)
			}
			if round == 2 {
				break
			}
			p := testkit.Await(t, parked, "the request")
			c.send(get("/c"))
			write(t, p, "parked")
			testkit.Must(t, p.Notify(func(error) {}))
			testkit.Must(t, p.Close())
			if resp := c.response(); resp.body != "parked" {
				t.Errorf("the response is %q", resp.body)
			}
		}
		c.response() // the second /c
		testkit.WantEqual(t, "parked requests", s.Parked(), 0)
	})
}

// After the end of a Parked, also in a later request of its connection, its methods fail and change nothing.
func TestAParkedResponseIsOverWithItsEnd(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		handler, parked := parking(t, nil)
		addr := serve(t, s, handler)
		c := dial(t, addr)
		c.send(get("/1") + get("/2"))
		first := testkit.Await(t, parked, "the first request")
		testkit.Must(t, first.Close())
		second := testkit.Await(t, parked, "the second request")
		late := func(p *Parked) {
			t.Helper()
			p.WriteHeader(http.StatusTeapot)
			p.Header().Set("X-Late", "x")
			_, err := p.WriteString("late")
			for name, err := range map[string]error{
				"Write": err, "FlushError": p.FlushError(), "Notify": p.Notify(func(error) { t.Error("done is called") }), "Close": p.Close(),
				"SetWriteDeadline": p.SetWriteDeadline(time.Now()),
			} {
				if !errors.Is(err, ErrEnded) || errors.Is(err, server.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
			}
			p.Abort()
			testkit.WantEqual(t, "pending bytes", p.Pending(), 0)
		}
		late(first)
		write(t, second, "second")
		late(first)
		testkit.Must(t, second.Close())
		for _, want := range []string{"", "second"} {
			if resp := c.response(); resp.body != want || resp.header.Get("X-Late") != "" || resp.status != http.StatusOK {
				t.Errorf("the response is %v, want %q", resp, want)
			}
		}
	})
}

// The ResponseWriter of a parked request does nothing, and its errors are ErrParked.
func TestTheResponseWriterOfAParkedRequestIsOver(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		var logged syncBuffer
		s.ErrorLog = log.New(&logged, "", 0)
		parked := make(chan *Parked, 1)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			p, err := Park(w, req, nil)
			testkit.Must(t, err)
			ctl := http.NewResponseController(w)
			_, again := Park(w, req, nil)
			_, err = io.WriteString(w, "w")
			_, err2 := io.Copy(w, strings.NewReader("w"))
			_, _, err3 := ctl.Hijack()
			err4 := Upgrade(w, nil, func(*server.Conn) (server.Handler, error) { return nil, errors.New("not reached") })
			for name, err := range map[string]error{
				"Upgrade": err4, "Park": again, "Write": err, "ReadFrom": err2, "Hijack": err3, "Flush": ctl.Flush(),
				"SetWriteDeadline": ctl.SetWriteDeadline(time.Now()), "SetReadDeadline": ctl.SetReadDeadline(time.Now()),
			} {
				if !errors.Is(err, ErrParked) {
					t.Errorf("%s: %v", name, err)
				}
			}
			w.WriteHeader(http.StatusTeapot)
			w.Header().Set("X-Late", "x")
			parked <- p
		})
		c := dial(t, addr)
		c.send(get("/"))
		p := testkit.Await(t, parked, "the request")
		write(t, p, "p")
		testkit.Must(t, p.Close())
		if resp := c.response(); resp.body != "p" || resp.status != http.StatusOK || resp.header.Get("X-Late") != "" {
			t.Errorf("the response is %v", resp)
		}
		if text := logged.String(); !strings.Contains(text, "response.Write on parked response from") || !strings.Contains(text, "response.WriteHeader on parked") {
			t.Errorf("the log is %q", text)
		}
	})
}

// Park refuses a request that it cannot park, and then changes nothing.
func TestParkRefusesWhatItCannotPark(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		type opaque struct{ http.ResponseWriter } // without Unwrap
		writers := make(chan http.ResponseWriter, 1)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			_, err := Park(opaque{w}, req, nil)
			if !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("a wrapper without Unwrap: %v", err)
			}
			switch req.URL.Path {
			case "/wrapped":
				p, err := Park(wrapper{wrapper{w}}, req, nil)
				testkit.Must(t, err)
				write(t, p, "wrapped")
				testkit.Must(t, p.Close())
			case "/hijacked":
				nc, _, err := http.NewResponseController(w).Hijack()
				testkit.Must(t, err)
				_, err = Park(w, req, nil)
				testkit.WantErr(t, err, http.ErrHijacked)
				_ = nc.Close() // the client sees it
			case "/late":
				_, err := Park(<-writers, req, nil)
				testkit.WantErr(t, err, server.ErrReplyEnded)
			default:
				writers <- w
			}
		})
		c := dial(t, addr)
		c.send(get("/"))
		c.response()
		c.send(get("/late"))
		c.response()
		c.send(get("/wrapped"))
		if resp := c.response(); resp.body != "wrapped" {
			t.Errorf("the response is %v", resp)
		}
		c.send(get("/hijacked"))
		c.wantEnd()
	})
}

// timing starts a server with a clock that the test moves, whose requests are parked with a ParkConfig that depends on their path.
func timing(t *testing.T, s *Server) (clock *testkit.Clock, parked chan *Parked, addr string) {
	clock, parked = testkit.NewClock(), make(chan *Parked, 1)
	s.LoopConfig = &event.Config{Clock: clock}
	return clock, parked, serve(t, s, func(w http.ResponseWriter, req *http.Request) {
		cfg := &ParkConfig{}
		switch req.URL.Path {
		case "/204":
			cfg.Timeout = 5 * time.Second
			cfg.OnTimeout = func(p *Parked) {
				p.WriteHeader(http.StatusNoContent)
				testkit.Must(t, p.Close())
			}
		case "/on":
			cfg.OnTimeout = func(p *Parked) { write(t, p, "more ") }
		case "/none":
			cfg.Timeout = -1
		}
		w.Header().Set("X-Own", "x")
		p, err := Park(w, req, cfg)
		testkit.Must(t, err)
		parked <- p
	})
}

// The response of a Parked that is not closed in time is 503, or is cut off if it has begun.
func TestAParkedRequestHasATimeout(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		clock, parked, addr := timing(t, s)
		c := dial(t, addr)
		c.send(get("/"))
		p := testkit.Await(t, parked, "the request")
		pass(t, s, clock, DefaultParkTimeout-time.Second)
		testkit.Must(t, p.FlushError()) // it is open
		pass(t, s, clock, time.Second)
		if text := c.rest(); strings.HasSuffix(text, "0\r\n\r\n") || !strings.Contains(text, "X-Own") {
			t.Errorf("a response that has begun is %q", text)
		}
		_, err := p.WriteString("x")
		testkit.WantErr(t, err, ErrEnded)
		testkit.WantErr(t, err, os.ErrDeadlineExceeded)

		c = dial(t, addr)
		c.send(get("/"))
		p = testkit.Await(t, parked, "the request")
		p.Header().Set("Content-Length", "1")
		pass(t, s, clock, DefaultParkTimeout)
		if resp := c.response(); resp.status != http.StatusServiceUnavailable || resp.header.Get("X-Own") != "" || resp.closes {
			t.Errorf("the response is %v", resp)
		}
		testkit.WantErr(t, p.Close(), os.ErrDeadlineExceeded)
	})
}

// OnTimeout completes the response, or lets it go on without a timeout. With a negative Timeout there is none.
func TestOnTimeoutCompletesAParkedRequest(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		clock, parked, addr := timing(t, s)
		c := dial(t, addr)
		c.send(get("/204"))
		testkit.Await(t, parked, "the request")
		pass(t, s, clock, 5*time.Second)
		if resp := c.response(); resp.status != http.StatusNoContent || resp.closes {
			t.Errorf("the response is %v", resp)
		}
		c.send(get("/on"))
		p := testkit.Await(t, parked, "the request")
		pass(t, s, clock, DefaultParkTimeout)
		testkit.Until(t, "OnTimeout", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.onTimeout == nil && p.resp.written > 0 })
		pass(t, s, clock, 10*DefaultParkTimeout)
		write(t, p, "and more")
		testkit.Must(t, p.Close())
		if resp := c.response(); resp.body != "more and more" {
			t.Errorf("the response is %v", resp)
		}
		c.send(get("/none"))
		p = testkit.Await(t, parked, "the request")
		pass(t, s, clock, 1000*time.Hour)
		testkit.Must(t, p.Close())
		c.response()
	})
}

// A handler that panics after Park cuts the response off, as one does that has not called it.
func TestAPanicAfterParkCutsTheResponseOff(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		parked := make(chan *Parked, 1)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.WriteString(w, "begun")
			if req.URL.Path == "/sent" {
				w.(http.Flusher).Flush()
			}
			p, err := Park(w, req, nil)
			testkit.Must(t, err)
			if req.URL.Path == "/closed" {
				testkit.Must(t, p.Close())
			}
			parked <- p
			panic(http.ErrAbortHandler)
		})
		for path, want := range map[string]string{"/": "", "/sent": "5\r\nbegun\r\n", "/closed": "begun"} {
			c := dial(t, addr)
			c.send(get(path))
			p := testkit.Await(t, parked, "the request")
			var text string
			if path == "/closed" {
				text = c.response().body
			} else {
				text = c.rest()
				testkit.Until(t, "the end", func() bool { return errors.Is(p.FlushError(), ErrEnded) })
				testkit.WantErr(t, p.Close(), errHandlerFailed)
			}
			if !strings.HasSuffix(text, want) || want == "" && text != "" {
				t.Errorf("%s: the client has read %q", path, text)
			}
		}
		testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 })
	})
}
