//nolint:bodyclose // the end of each test closes the bodies of its responses
package httpd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// parkHTTP2Server starts a server for HTTP/2 whose requests are parked with a ParkConfig that depends on their path.
func parkHTTP2Server(t *testing.T, s *Server, config func(path string) *ParkConfig) (parked chan *Parked, fetch func(path string) (*http.Response, error)) {
	parked = make(chan *Parked, 10)
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.ProtoMajor != 2 {
			t.Errorf("the protocol is %s", req.Proto)
		}
		type opaque struct{ http.ResponseWriter } // without Unwrap
		if _, err := Park(opaque{w}, req, nil); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("a wrapper without Unwrap: %v", err)
		}
		w.Header().Set("X-Before", "1")
		p, err := Park(wrapper{w}, req, config(req.URL.Path))
		testkit.Must(t, err)
		if _, err := Park(w, req, nil); !errors.Is(err, ErrParked) {
			t.Errorf("Park again: %v", err)
		}
		parked <- p
		if strings.HasSuffix(req.URL.Path, "/panic") {
			panic(http.ErrAbortHandler)
		}
	})
	addr, client := startTLS(t, s, true)
	return parked, func(path string) (*http.Response, error) {
		t.Helper()
		resp, err := client.Get("https://" + addr + path)
		if err == nil {
			t.Cleanup(func() { _ = resp.Body.Close() }) // the test is over
		}
		return resp, err
	}
}

// fetched returns the response to path.
func fetched(t *testing.T, fetch func(path string) (*http.Response, error), path string) *http.Response {
	t.Helper()
	resp, err := fetch(path)
	testkit.Must(t, err)
	return resp
}

// Over HTTP/2 a parked response is completed and streamed as over HTTP/1, with a goroutine that waits.
func TestAResponseIsParkedOverHTTP2(t *testing.T) {
	s := &Server{}
	parked, fetch := parkHTTP2Server(t, s, func(string) *ParkConfig { return nil })
	done := make(chan error, 1)
	go func() {
		p := <-parked
		p.Header().Set("X-After", "2")
		p.WriteHeader(http.StatusEarlyHints)
		p.WriteHeader(http.StatusTeapot)
		write(t, p, "hello")
		testkit.Must(t, p.Close())
		done <- p.Close()
	}()
	resp := fetched(t, fetch, "/")
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hello" || resp.StatusCode != http.StatusTeapot || resp.ContentLength != 5 ||
		resp.Header.Get("X-Before") != "1" || resp.Header.Get("X-After") != "2" {
		t.Errorf("the response is %v %q %v, %v", resp.Status, body, resp.Header, err)
	}
	testkit.WantErr(t, <-done, ErrEnded)

	first := make(chan *Parked, 1)
	go func() {
		p := <-parked
		testkit.Must(t, p.FlushError())
		first <- p
	}()
	resp = fetched(t, fetch, "/stream")
	in := bufio.NewReader(resp.Body)
	p := <-first
	for range 3 {
		outcome := make(chan error, 1)
		write(t, p, "line\n")
		testkit.Must(t, p.Notify(func(err error) { outcome <- err }))
		testkit.Must(t, testkit.Await(t, outcome, "the outcome"))
		if line, err := in.ReadString('\n'); line != "line\n" {
			t.Fatalf("the client has read %q, %v", line, err)
		}
	}
	p.Header().Set(http.TrailerPrefix+"X-T", "v")
	testkit.WantEqual(t, "parked requests", s.Parked(), 1)
	testkit.Must(t, p.Close())
	if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
		t.Errorf("the end is %q, %v", rest, err)
	}
	testkit.WantEqual(t, "trailer", resp.Trailer.Get("X-T"), "v")
	testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 })
}

// Over HTTP/2, too, a Parked ends with its client, by Abort, at its timeout, and by a panic of its handler.
func TestHowParkedResponsesEndOverHTTP2(t *testing.T) {
	s := &Server{}
	gone := make(chan error, 1)
	parked, fetch := parkHTTP2Server(t, s, func(path string) *ParkConfig {
		switch path {
		case "/timeout":
			return &ParkConfig{Timeout: time.Millisecond}
		case "/204":
			return &ParkConfig{Timeout: time.Millisecond, OnTimeout: func(p *Parked) {
				p.WriteHeader(http.StatusNoContent)
				if _, err := p.WriteString("x"); !errors.Is(err, http.ErrBodyNotAllowed) {
					t.Errorf("a body with 204: %v", err)
				}
				testkit.Must(t, p.Close())
			}}
		}
		return &ParkConfig{OnGone: func(_ *Parked, cause error) { gone <- cause }}
	})
	for path, status := range map[string]int{"/timeout": http.StatusServiceUnavailable, "/204": http.StatusNoContent} {
		if resp := fetched(t, fetch, path); resp.StatusCode != status {
			t.Errorf("the response to %s is %s", path, resp.Status)
		}
		<-parked
	}
	for path, end := range map[string]func(*Parked){
		"/abort": (*Parked).Abort, "/panic": func(*Parked) {},
	} {
		begun := make(chan *Parked, 1)
		go func() {
			p := <-parked
			if path == "/abort" {
				sent := make(chan error, 1)
				testkit.Must(t, p.Notify(func(err error) { sent <- err }))
				<-sent
			}
			begun <- p
			end(p)
		}()
		if path == "/abort" {
			if _, err := io.ReadAll(fetched(t, fetch, path).Body); err == nil {
				t.Errorf("%s: the response is complete", path)
			}
		} else if resp, err := fetch(path); err == nil {
			t.Errorf("the response to %s is %s", path, resp.Status)
		}
		p := <-begun
		testkit.Until(t, "the end", func() bool { return errors.Is(p.Close(), ErrEnded) })
	}
	go func() { _ = (<-parked).FlushError() }() // perhaps fails
	_ = fetched(t, fetch, "/gone").Body.Close() // by intention
	if cause := testkit.Await(t, gone, "OnGone"); !errors.Is(cause, context.Canceled) {
		t.Errorf("the cause is %v", cause)
	}
	testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 })
}

// Shutdown tells parked requests of HTTP/2, and waits for them.
func TestShutdownWaitsForParkedRequestsOverHTTP2(t *testing.T) {
	s := &Server{}
	gone := make(chan error, 1)
	parked, fetch := parkHTTP2Server(t, s, func(string) *ParkConfig {
		return &ParkConfig{Timeout: -1, OnGone: func(_ *Parked, cause error) { gone <- cause }}
	})
	body := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(fetched(t, fetch, "/").Body) // what was read is compared
		body <- string(b)
	}()
	p := testkit.Await(t, parked, "the request")
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := testkit.Soon()
		defer cancel()
		ended <- s.Shutdown(ctx)
	}()
	testkit.WantErr(t, testkit.Await(t, gone, "OnGone"), http.ErrServerClosed)
	write(t, p, "last words")
	testkit.Must(t, p.Close())
	testkit.WantEqual(t, "body", testkit.Await(t, body, "the response"), "last words")
	testkit.Must(t, testkit.Await(t, ended, "the end of Shutdown"))
}

// Output for a client of HTTP/2 that does not read is limited by MaxPending.
func TestTheOutputOfAParkedResponseIsLimitedOverHTTP2(t *testing.T) {
	s := &Server{}
	parked, fetch := parkHTTP2Server(t, s, func(string) *ParkConfig { return &ParkConfig{MaxPending: 100_000} })
	first := make(chan *Parked, 1)
	go func() {
		p := <-parked
		testkit.Must(t, p.FlushError())
		first <- p
	}()
	resp := fetched(t, fetch, "/")
	p := <-first
	written := 0
	testkit.Until(t, "the limit", func() bool {
		for last := -1; ; { // until two writes in a row are refused with the same bytes waiting
			_, err := p.WriteString(piece)
			if err == nil {
				written++
				continue
			}
			testkit.WantErr(t, err, server.ErrFull)
			n := p.Pending()
			if n > 100_000+len(piece) {
				t.Fatalf("%d bytes wait", n)
			}
			if n == last {
				return true
			}
			last = n
		}
	})
	testkit.Must(t, p.Close())
	if body, err := io.ReadAll(resp.Body); string(body) != strings.Repeat(piece, written) {
		t.Errorf("%d bytes have arrived of %d, %v", len(body), written*len(piece), err)
	}
}

// An invalid status and a body above its length are refused at the call over HTTP/2, and a change of the header after the end does not reach the goroutine
// of the request.
func TestMistakesAreToldAtTheCallOverHTTP2(t *testing.T) {
	s := &Server{}
	parked, fetch := parkHTTP2Server(t, s, func(string) *ParkConfig { return nil })
	over := make(chan struct{})
	go func() {
		defer close(over)
		p := <-parked
		for _, status := range []int{99, 1000, -1} {
			func() {
				defer func() {
					if v := recover(); v == nil {
						t.Errorf("WriteHeader(%d) does not panic", status)
					}
				}()
				p.WriteHeader(status)
			}()
		}
		p.Header().Set("Content-Length", "2")
		p.Header().Set("Trailer", "X-T")
		_, err := p.WriteString("hello")
		testkit.WantErr(t, err, http.ErrContentLength)
		g := NewGroup(nil)
		testkit.Must(t, g.Add(p))
		refused := g.Broadcast([]byte("hello"), func(*Parked, error) { t.Error("the outcome of a refused broadcast is told") })
		if len(refused) != 1 || !errors.Is(refused[0], http.ErrContentLength) {
			t.Errorf("refused: %v", refused)
		}
		write(t, p, "hi")
		p.Header().Set("X-T", "v")
		header := p.Header()
		testkit.Must(t, p.Close())
		for range 100 { // while the goroutine of the request ends
			header.Set("X-T", "late")
		}
	}()
	resp := fetched(t, fetch, "/")
	body, err := io.ReadAll(resp.Body)
	if string(body) != "hi" || err != nil || resp.ContentLength != 2 || resp.Trailer.Get("X-T") != "v" {
		t.Errorf("the response is %q of %d, %v, the trailer %v", body, resp.ContentLength, err, resp.Trailer)
	}
	<-over
	testkit.Until(t, "the end", func() bool { return s.Parked() == 0 })
}

// Each outcome is told over HTTP/2, also those after a function that panics.
func TestAPanicInAnOutcomeLeavesTheOthersOverHTTP2(t *testing.T) {
	s := &Server{}
	parked, fetch := parkHTTP2Server(t, s, func(string) *ParkConfig { return nil })
	outcomes := make(chan int, 10)
	go func() {
		p := <-parked
		p.mu.Lock() // so that all of them are told together
		for i := range 5 {
			testkit.Must(t, p.h2.notify(func(error) {
				outcomes <- i
				if i%2 == 1 {
					panic(http.ErrAbortHandler)
				}
			}))
		}
		p.mu.Unlock()
	}()
	if resp, err := fetch("/"); err == nil {
		t.Errorf("the response is %s", resp.Status)
	}
	for i := range 5 {
		testkit.WantEqual(t, "outcome", testkit.Await(t, outcomes, "the outcome"), i)
	}
	testkit.Until(t, "the end", func() bool { return s.Parked() == 0 })
}

// The parts of a response that wait for a client of HTTP/2 that does not read are limited, also those without bytes of the body.
func TestOutcomesThatWaitAreLimitedOverHTTP2(t *testing.T) {
	s := &Server{}
	parked, fetch := parkHTTP2Server(t, s, func(string) *ParkConfig { return &ParkConfig{MaxPending: -1} })
	ready := make(chan *Parked, 1)
	go func() {
		p := <-parked
		write(t, p, overfullText) // more than the windows of the stream and of the connection
		ready <- p
	}()
	resp := fetched(t, fetch, "/")
	p := <-ready
	var told atomic.Int32
	accepted := 0
	for err := error(nil); err == nil; {
		if err = p.Notify(func(error) { told.Add(1) }); err == nil {
			accepted++
		} else {
			testkit.WantErr(t, err, server.ErrFull)
		}
		if accepted > server.DefaultMaxOutput {
			t.Fatal("Notify is not limited")
		}
	}
	_ = resp.Body.Close() // by intention
	testkit.Until(t, "each outcome", func() bool { return int(told.Load()) == accepted && s.Parked() == 0 })
}

// Timeout of a ParkConfig is on the clock of the loops, also over HTTP/2.
func TestTheTimeoutOverHTTP2IsOnTheClockOfTheLoops(t *testing.T) {
	clock := testkit.NewClock()
	s := &Server{LoopConfig: &event.Config{Clock: clock}}
	parked, fetch := parkHTTP2Server(t, s, func(string) *ParkConfig { return &ParkConfig{Timeout: time.Hour} })
	go func() {
		<-parked
		clock.Advance(time.Hour)
	}()
	testkit.WantEqual(t, "status", fetched(t, fetch, "/").StatusCode, http.StatusServiceUnavailable)
}

// A response of HTTP/2 ends at once by Abort, by its timeout, and when its Group cuts it off, also while the goroutine of the request waits for a
// client that does not read: nothing of it is held then.
func TestAParkedResponseThatIsNotReadEndsOverHTTP2(t *testing.T) {
	for name, end := range map[string]func(p *Parked, g *Group){
		"Abort":      func(p *Parked, _ *Group) { p.Abort() },
		"timeout":    func(p *Parked, _ *Group) { p.expired() },
		"a slow one": func(_ *Parked, g *Group) { g.Broadcast([]byte("x"), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &Server{}
			parked, fetch := parkHTTP2Server(t, s, func(string) *ParkConfig { return &ParkConfig{MaxPending: 1000} })
			ready := make(chan *Parked, 1)
			outcome := make(chan error, 1)
			g := NewGroup(nil)
			go func() {
				p := <-parked
				testkit.Must(t, g.Add(p))
				g.Broadcast([]byte(strings.Repeat(overfullText, 3)), func(_ *Parked, err error) { outcome <- err }) // more than the window of the stream
				ready <- p
			}()
			resp := fetched(t, fetch, "/")
			end(testkit.Await(t, ready, "the output"), g)
			if err := testkit.Await(t, outcome, "the outcome"); err == nil {
				t.Error("the output is said to be written")
			}
			testkit.Until(t, "the end", func() bool { return s.Parked() == 0 })
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Error("the client takes the response for complete")
			}
		})
	}
}

// A body that is refused because of a status that the handler has sent before Park is told, and the response is that of a handler.
func TestAStatusBeforeParkForbidsABodyOverHTTP2(t *testing.T) {
	outcome := make(chan error, 1)
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusNotModified)
		p, err := Park(w, req, nil)
		testkit.Must(t, err)
		g := NewGroup(nil)
		testkit.Must(t, g.Add(p))
		g.Broadcast([]byte("x"), func(_ *Parked, err error) { outcome <- err })
		testkit.Must(t, p.Close())
	})}
	addr, client := startTLS(t, s, true)
	resp, err := client.Get("https://" + addr)
	testkit.Must(t, err)
	defer resp.Body.Close()
	testkit.WantEqual(t, "status", resp.StatusCode, http.StatusNotModified)
	testkit.WantErr(t, testkit.Await(t, outcome, "the outcome"), http.ErrBodyNotAllowed)
}

// Over HTTP/2, too, a short response is gathered, so that it has a Content-Length, whether or not the goroutine of the request has seen its bytes
// before the end. A longer one is sent without Flush, and so is a broadcast.
func TestAShortResponseIsGatheredOverHTTP2(t *testing.T) {
	parked, fetch := parkHTTP2Server(t, &Server{}, func(string) *ParkConfig { return nil })
	fetchWhile := func(do func(p *Parked)) *http.Response {
		t.Helper()
		go func() { do(<-parked) }()
		return fetched(t, fetch, "/")
	}
	seen := func(p *Parked) {
		testkit.Until(t, "the goroutine of the request to have seen the bytes", func() bool { return p.Pending() == 0 })
	}

	resp := fetchWhile(func(p *Parked) {
		write(t, p, "hello, ")
		seen(p)
		write(t, p, "world")
		seen(p)
		testkit.Must(t, p.Close())
	})
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hello, world" || resp.ContentLength != int64(len(body)) {
		t.Errorf("the response is %q with the length %d, %v", body, resp.ContentLength, err)
	}

	open := make(chan *Parked, 1)
	resp = fetchWhile(func(p *Parked) {
		write(t, p, strings.Repeat("x", maxGathered))
		write(t, p, "end")
		open <- p
	})
	if n, err := io.CopyN(io.Discard, resp.Body, maxGathered+3); err != nil || resp.ContentLength >= 0 {
		t.Errorf("%d bytes were sent, with the length %d, %v", n, resp.ContentLength, err)
	}
	testkit.Must(t, (<-open).Close())

	g := NewGroup(nil)
	resp = fetchWhile(func(p *Parked) {
		testkit.Must(t, g.Add(p))
		if refused := g.Broadcast([]byte("news"), nil); refused != nil {
			t.Errorf("refused: %v", refused)
		}
		open <- p
	})
	if n, err := io.CopyN(io.Discard, resp.Body, 4); err != nil {
		t.Errorf("%d bytes were sent, %v", n, err)
	}
	testkit.Must(t, (<-open).Close())
}
