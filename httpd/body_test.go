package httpd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
)

// A body that no handler has read is read and discarded if it is not long, so that the connection serves the next request. After a long one the
// connection is closed. Neither is taken for a request.
func TestABodyThatIsNotReadIsNoRequest(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		requests := make(chan string, 100)
		addr := serve(t, s, func(_ http.ResponseWriter, req *http.Request) {
			requests <- req.URL.Path
			switch req.URL.Path {
			case "/close":
				_ = req.Body.Close() // the response is the same
			case "/part":
				_, _ = req.Body.Read(make([]byte, 10)) // as above
			case "/nil":
				req.Body = nil
			case "/other":
				req.Body = io.NopCloser(strings.NewReader("other"))
			}
		})
		smuggled := get("/smuggled")
		for _, path := range []string{"/", "/close", "/part", "/nil", "/other"} {
			for _, size := range []int{1, 10_000, 250_000, 1_000_000} {
				for _, chunked := range []bool{false, true} {
					content := strings.Repeat(smuggled, size/len(smuggled)+1)
					head := post(path, fmt.Sprintf("Content-Length: %d\r\n", len(content)))
					if chunked {
						head = post(path, "Transfer-Encoding: chunked\r\n")
						content = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(content), content)
					}
					c := dial(t, addr)
					go func() {
						_, _ = io.WriteString(c, head+content+get("/next")) // fails if the server closes the connection
						_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
					}()
					n := strings.Count(c.rest(), "HTTP/1.1 200 OK")
					got := testkit.Await(t, requests, "the request")
					if n == 2 {
						got += testkit.Await(t, requests, "the next request")
					}
					if want := map[int]string{1: path, 2: path + "/next"}[n]; got != want || size <= 250_000 && n != 2 || size > 300_000 && n != 1 {
						t.Errorf("%s of %d bytes, chunked %v: %d responses, and the requests are %s", path, size, chunked, n, got)
					}
				}
			}
		}
	})
}

// The error of a body ends its connection after the response, also if the handler does not report it.
func TestABodyThatCannotBeReadEndsTheConnection(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		clock, begun := testkit.NewClock(), make(chan struct{}, 10)
		s.LoopConfig, s.ReadTimeout = &event.Config{Clock: clock}, 20*time.Second
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			begun <- struct{}{}
			_, err := io.Copy(io.Discard, req.Body)
			fmt.Fprint(w, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF))
		})
		for _, row := range []struct {
			name, input string
			ends        bool // the client closes its sending side
			want        string
		}{
			{"a chunk without a length", post("/", "Transfer-Encoding: chunked\r\n") + "x\r\n" + get("/"), false, "false false"},
			{"a trailer that is no header line", post("/", "Transfer-Encoding: chunked\r\n") + "0\r\nx\r\n\r\n" + get("/"), false, "false false"},
			{"the end of the connection", post("/", "Content-Length: 10\r\n") + "x", true, "false true"},
			{"the end of the connection in a chunk", post("/", "Transfer-Encoding: chunked\r\n") + "5\r\nx", true, "false true"},
			{"ReadTimeout", post("/", "Content-Length: 10\r\n") + "x", false, "true false"},
			{"ReadTimeout in a chunk", post("/", "Transfer-Encoding: chunked\r\n") + "5\r\nx", false, "true false"},
		} {
			c := dial(t, addr)
			c.send(row.input)
			testkit.Await(t, begun, "the request")
			if row.ends {
				c.closeWrite()
			} else if strings.HasPrefix(row.name, "ReadTimeout") {
				pass(t, s, clock, 30*time.Second)
			}
			resp := c.response()
			if resp.body != row.want || !resp.closes {
				t.Errorf("%s: the response is %q, and announces the end of the connection: %v", row.name, resp.body, resp.closes)
			}
			c.wantEnd()
		}
	})
}

// The beginning of the response discards the rest of the body, unless it is long. A handler that reads on gets an error, and not the end of the body.
func TestABodyThatIsDiscardedIsNotComplete(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.ReadFull(req.Body, make([]byte, 2)) // a part
			_ = http.NewResponseController(w).Flush()     // the client sees it
			n, err := req.Body.Read(make([]byte, 10))
			fmt.Fprint(w, n, errors.Is(err, http.ErrBodyReadAfterClose))
		})
		for _, body := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
			c := dial(t, addr)
			c.send("POST / HTTP/1.1\r\nHost: x\r\n" + body + get("/"))
			if resp := c.response(); resp.body != "0 true" {
				t.Errorf("after the beginning of the response, Read returns %s", resp.body)
			}
			c.response() // to the next request
		}
	})
}

// The goroutine that reads a body after the handler has returned gets an error, and holds up nothing.
func TestAReadThatWaitsEndsWithTheHandler(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		errs := make(chan error, 1)
		addr := serve(t, s, func(_ http.ResponseWriter, req *http.Request) {
			began := make(chan struct{})
			go func() {
				close(began)
				_, err := io.Copy(io.Discard, req.Body)
				errs <- err
			}()
			<-began
			if req.URL.Path == "/panic" {
				panic(http.ErrAbortHandler)
			}
		})
		for _, path := range []string{"/", "/panic"} {
			for _, head := range []string{"Connection: close\r\nContent-Length: 100000\r\n", "Content-Length: 100000\r\n", "Transfer-Encoding: chunked\r\n"} {
				c := dial(t, addr)
				c.send(post(path, head))
				if path == "/" {
					time.Sleep(time.Millisecond) // so that mostly the Read comes first; each order is correct
				}
				if err := testkit.Await(t, errs, "the error of the body"); err == nil {
					t.Errorf("%s: the body is complete", head)
				}
				c.closeWrite()
				c.rest()
			}
		}
	})
}

// After the limit of an http.MaxBytesReader, the rest of the body is treated as any other that is not read: if it is long, the connection closes.
func TestMaxBytesReaderLimitsABody(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			_, err := io.Copy(io.Discard, http.MaxBytesReader(w, req.Body, 10))
			if errors.As(err, new(*http.MaxBytesError)) {
				http.Error(w, "too long", http.StatusRequestEntityTooLarge)
			}
		})
		c := dial(t, addr)
		for _, row := range []struct {
			length, status int
			closes         bool
		}{{10, http.StatusOK, false}, {11, http.StatusRequestEntityTooLarge, false}, {1 << 20, http.StatusRequestEntityTooLarge, true}} {
			c.send(post("/", fmt.Sprintf("Content-Length: %d\r\n", row.length)))
			go func() { _, _ = io.CopyN(c.Conn, endless{}, int64(row.length)) }() // the server may not read all of it
			if resp := c.response(); resp.status != row.status || resp.closes != row.closes {
				t.Errorf("the response to a body of %d bytes is %d, and closes the connection: %v", row.length, resp.status, resp.closes)
			}
		}
		c.wantEnd()
	})
}

func TestTheFilesOfAFormAreRemoved(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		names := make(chan string, 1)
		addr := serve(t, s, func(_ http.ResponseWriter, req *http.Request) {
			_ = req.ParseMultipartForm(100) // FormFile fails, too
			f, _, err := req.FormFile("file")
			if err != nil {
				t.Errorf("FormFile: %v", err)
				return
			}
			names <- f.(*os.File).Name()
			_ = f.Close() // it was only read
		})
		var b bytes.Buffer
		mw := multipart.NewWriter(&b)
		part, err := mw.CreateFormFile("file", "name")
		testkit.Must(t, err)
		_, _ = part.Write(make([]byte, 1000)) // a Buffer returns no error
		testkit.Must(t, mw.Close())
		c := dial(t, addr)
		c.send(post("/", fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n", mw.FormDataContentType(), b.Len())) + b.String())
		c.response()
		name := testkit.Await(t, names, "the handler")
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) { // it is removed before the response ends
			testkit.Until(t, "the file is removed", func() bool {
				_, err := os.Stat(name)
				return errors.Is(err, os.ErrNotExist)
			})
		}
	})
}

// Bodies are read and responses written in pieces: neither is held in memory.
func TestLargeBodiesTakeLittleMemory(t *testing.T) {
	const size = 64 << 20
	somePlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			var err error
			var n int64
			if req.Method == http.MethodPost {
				n, err = io.Copy(io.Discard, &watched{Reader: req.Body})
			} else {
				n, err = io.Copy(w, &watched{Reader: io.LimitReader(endless{}, size)})
			}
			if n != size || err != nil {
				t.Errorf("%s: %d bytes, %v", req.Method, n, err)
			}
		})
		before := heap()
		largest.Store(before)
		c := dial(t, addr)
		c.send(get("/"))
		if n, err := io.Copy(io.Discard, io.LimitReader(c.r, size)); n != size || err != nil {
			t.Fatalf("the response has %d bytes, %v", n, err)
		}
		up := dial(t, addr)
		up.send(post("/", fmt.Sprintf("Content-Length: %d\r\n", size)))
		if _, err := io.Copy(up.Conn, io.LimitReader(endless{}, size)); err != nil {
			t.Fatal(err)
		}
		up.response()
		if grown := int64(largest.Load()) - int64(before); grown > 8<<20 && !leaktest.Raced() {
			t.Errorf("the heap has grown by %d bytes", grown)
		}
	})
}

var largest atomic.Uint64 // the largest heap that a watched reader has seen

// watched is a reader that measures the heap from time to time.
type watched struct {
	io.Reader
	n int
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if w.n += n; w.n > 8<<20 {
		w.n = 0
		largest.Store(max(largest.Load(), heap()))
	}
	return n, err
}

// heap returns the bytes of live objects.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A Read of a chunked body returns what has arrived, and not a chunk or a byte.
func TestAReadOfAChunkedBodyReturnsWhatHasArrived(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			body, reads := make([]byte, 64<<10), 0
			for n := 0; ; reads++ {
				m, err := req.Body.Read(body[n:])
				if n += m; err != nil {
					fmt.Fprint(w, n, reads, err)
					return
				}
			}
		})
		c := dial(t, addr)
		for name, chunks := range map[string]string{
			"one chunk":      "4000\r\n" + strings.Repeat("x", 0x4000) + "\r\n0\r\n\r\n",
			"chunks of 16 B": strings.Repeat("10\r\n0123456789abcdef\r\n", 0x400) + "0\r\n\r\n",
		} {
			c.send(post("/", "Transfer-Encoding: chunked\r\n") + chunks)
			var n, reads int
			if resp := c.response(); strings.Contains(resp.body, "EOF") {
				_, _ = fmt.Sscan(resp.body, &n, &reads) // the numbers are checked
			}
			if n != 0x4000 || reads > 100 {
				t.Errorf("%s: %d bytes in %d calls", name, n, reads)
			}
		}
	})
}
