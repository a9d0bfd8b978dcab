package httpd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// endless is a reader of bytes without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestNothingIsSentAfterAWriteDeadline(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		errs := make(chan error, 3)
		addr := serve(t, s, func(w http.ResponseWriter, _ *http.Request) {
			ctl := http.NewResponseController(w)
			_, _ = io.WriteString(w, "one") // gathered
			errs <- ctl.Flush()
			if err := ctl.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
				t.Errorf("SetWriteDeadline: %v", err)
			}
			_, _ = io.WriteString(w, "two") // the error is that of Flush
			errs <- ctl.Flush()
			_ = ctl.SetWriteDeadline(time.Now().Add(long)) // too late
			_, _ = io.WriteString(w, "three")              // as above
			errs <- ctl.Flush()
		})
		c := dial(t, addr)
		c.send(get("/"))
		if text := c.head() + c.rest(); !strings.HasSuffix(text, "\r\n\r\n3\r\none\r\n") {
			t.Errorf("the response is %q", text)
		}
		for i, want := range []error{nil, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded} {
			if err := testkit.Await(t, errs, "the handler"); !errors.Is(err, want) {
				t.Errorf("Flush %d: %v, want %v", i, err, want)
			}
		}
	})
}

func TestAWriteDeadlineEndsAResponseThatIsWritten(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		for name, reads := range map[string]bool{"a client that reads": true, "a client that does not read": false} {
			t.Run(name, func(t *testing.T) {
				s := &Server{Placement: s.Placement}
				ended := make(chan error, 1)
				addr := serve(t, s, func(w http.ResponseWriter, _ *http.Request) {
					if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
						t.Errorf("SetWriteDeadline: %v", err)
					}
					_, err := io.Copy(w, endless{})
					ended <- err
				})
				c := dial(t, addr)
				c.send(get("/"))
				if reads {
					go func() { _, _ = io.Copy(io.Discard, c.r) }() // until the connection ends
				}
				if err := testkit.Await(t, ended, "the end of the response"); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the error is %v", err)
				}
			})
		}
	})
}

func TestAReadDeadlineEndsTheBody(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			ctl := http.NewResponseController(w)
			var b [3]byte
			if _, err := io.ReadFull(req.Body, b[:]); err != nil || string(b[:]) != "one" {
				t.Errorf("before the deadline: %q, %v", b, err)
			}
			if err := ctl.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
				t.Errorf("SetReadDeadline: %v", err)
			}
			n, err := req.Body.Read(b[:])
			_ = ctl.SetReadDeadline(time.Time{}) // too late
			_, again := req.Body.Read(b[:])
			fmt.Fprint(w, n, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(again, os.ErrDeadlineExceeded))
		})
		c := dial(t, addr)
		c.send(post("/", "Content-Length: 6\r\n") + "one")
		if resp := c.response(); resp.body != "0 true true" || !resp.closes {
			t.Errorf("the response is %q, and announces the end of the connection: %v", resp.body, resp.closes)
		}
		c.wantEnd()
	})
}

// With EnableFullDuplex, a handler that has begun its response reads the rest of the body.
func TestFullDuplexReadsTheBodyDuringTheResponse(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			ctl := http.NewResponseController(w)
			if err := errors.Join(ctl.EnableFullDuplex(), ctl.Flush()); err != nil {
				t.Error(err)
			}
			body := req.Body
			if req.URL.Path == "/others" { // the goroutine that reads is another than the one that writes
				pr, pw := io.Pipe()
				go func() {
					_, err := io.Copy(pw, req.Body)
					_ = pw.CloseWithError(err) // returns nil
				}()
				body = pr
			}
			var b [1]byte
			for {
				if _, err := body.Read(b[:]); err != nil {
					return
				}
				_, _ = w.Write(b[:]) // the client sees it
				_ = ctl.Flush()      // as above
			}
		})
		for _, path := range []string{"/", "/others"} {
			c := dial(t, addr)
			c.send(post(path, "Transfer-Encoding: chunked\r\n"))
			c.head()
			for i := range 5 {
				chunk := fmt.Sprintf("1\r\n%d\r\n", i)
				c.send(chunk)
				got := make([]byte, len(chunk))
				if _, err := io.ReadFull(c.r, got); err != nil || string(got) != chunk {
					t.Fatalf("the response to %q is %q, %v", chunk, got, err)
				}
			}
			c.send("0\r\n\r\n" + get("/"))
			if end := c.head(); end != "0\r\n\r\n" {
				t.Fatalf("the end of the response is %q", end)
			}
			if resp := c.response(); resp.status != http.StatusOK {
				t.Errorf("the response to the next request is %v", resp)
			}
		}
	})
}

// wrapper hides the methods of a ResponseWriter, as middleware does.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestTheControllerWorksThroughWrappers(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, _ *http.Request) {
			ctl := http.NewResponseController(wrapper{wrapper{w}})
			_, _ = io.WriteString(w, "x") // gathered
			err := errors.Join(ctl.SetReadDeadline(time.Time{}), ctl.SetWriteDeadline(time.Time{}), ctl.EnableFullDuplex(), ctl.Flush())
			if err != nil {
				t.Error(err)
			}
			nc, _, err := ctl.Hijack()
			if err != nil {
				t.Fatalf("Hijack: %v", err)
			}
			_, _ = io.WriteString(nc, "0\r\n\r\n") // the client sees it
			_ = nc.Close()                         // as above
		})
		c := dial(t, addr)
		c.send(get("/"))
		if resp := c.response(); resp.body != "x" {
			t.Errorf("the response is %v", resp)
		}
		c.wantEnd()
	})
}

// The methods of a ResponseWriter fail when its handler has returned, and change nothing of the next response.
func TestAResponseWriterIsOverWithItsHandler(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		writers := make(chan http.ResponseWriter, 1)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/first" {
				writers <- w
				return
			}
			old := <-writers // its handler has returned, since the requests of a connection are handled one after the other
			ctl := http.NewResponseController(old)
			n, err := old.Write([]byte("late"))
			m, err2 := io.WriteString(old, "late")
			k, err3 := io.Copy(old, strings.NewReader("late"))
			_, _, err4 := ctl.Hijack()
			if n != 0 || m != 0 || k != 0 || err == nil || err2 == nil || err3 == nil || err4 == nil || ctl.Flush() == nil {
				t.Errorf("Write: %d, %v; WriteString: %d, %v; ReadFrom: %d, %v; Hijack: %v; Flush: %v", n, err, m, err2, k, err3, err4, ctl.Flush())
			}
			old.WriteHeader(http.StatusTeapot)
			old.Header().Set("Late", "x")
			_ = ctl.SetWriteDeadline(time.Now().Add(-time.Second)) // has no effect
			_ = ctl.SetReadDeadline(time.Now().Add(-time.Second))  // as above
		})
		c := dial(t, addr)
		c.send(get("/first") + get("/second"))
		for range 2 {
			if resp := c.response(); resp.status != http.StatusOK || resp.body != "" || resp.header.Get("Late") != "" {
				t.Errorf("the response is %v", resp)
			}
		}
	})
}

func TestFlushSendsWhatWasWritten(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		goOn := make(chan struct{})
		addr := serve(t, s, func(w http.ResponseWriter, _ *http.Request) {
			for i := range 3 {
				fmt.Fprintf(w, "%d", i)
				w.(http.Flusher).Flush()
				<-goOn
			}
		})
		c := dial(t, addr)
		c.send(get("/"))
		if text := c.head(); !strings.Contains(text, "Transfer-Encoding: chunked") {
			t.Errorf("the head is %q", text)
		}
		for i := range 3 {
			want := fmt.Appendf(nil, "1\r\n%d\r\n", i)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("chunk %d is %q, %v", i, got, err)
			}
			goOn <- struct{}{}
		}
		if end := c.head(); end != "0\r\n\r\n" {
			t.Errorf("the end is %q", end)
		}
	})
}
