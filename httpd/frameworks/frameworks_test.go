// Package frameworks tests that routers and middleware of others work on package httpd unchanged. It is a module of its own, so that these
// never become dependencies of the project's users.
package frameworks

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
)

// serve serves h with httpd, and with net/http, and returns the URLs.
func serve(t *testing.T, h http.Handler) (urls map[string]string) {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	l1, l2 := listen(t), listen(t)
	ours, theirs := &httpd.Server{Handler: h, ErrorLog: quiet}, &http.Server{Handler: h, ErrorLog: quiet, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 2)
	go func() { done <- ours.Serve(l1) }()
	go func() { done <- theirs.Serve(l2) }()
	t.Cleanup(func() {
		_, _ = ours.Close(), theirs.Close() // the errors of Serve are checked
		for range 2 {
			if err := <-done; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Serve: %v", err)
			}
		}
	})
	return map[string]string{"httpd": "http://" + l1.Addr().String(), "net/http": "http://" + l2.Addr().String()}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// check makes the same requests to both servers, and compares the responses.
func check(t *testing.T, urls map[string]string, requests ...string) {
	t.Helper()
	for _, r := range requests {
		method, path, _ := strings.Cut(r, " ")
		got := map[string]string{}
		for name, url := range urls {
			req, err := http.NewRequest(method, url+path, strings.NewReader(`{"name":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, r, err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close() // it was read
			resp.Header.Del("Date")
			got[name] = fmt.Sprintf("%d %v %q %v", resp.StatusCode, resp.Header, body, err)
		}
		if got["httpd"] != got["net/http"] {
			t.Errorf("%s\nhttpd:    %s\nnet/http: %s", r, got["httpd"], got["net/http"])
		}
	}
}

var requests = []string{"GET /hello/you", "POST /json", "GET /panic", "GET /missing", "PUT /hello/you", "GET /stream", "GET /large"}

var large = strings.Repeat("large ", 20_000)

func TestChi(t *testing.T) {
	r := chi.NewRouter()
	r.Use(middleware.RequestID, middleware.Recoverer, middleware.Compress(5), middleware.Timeout(time.Minute))
	r.Get("/hello/{name}", func(w http.ResponseWriter, req *http.Request) { fmt.Fprintf(w, "hello %s", chi.URLParam(req, "name")) })
	r.Post("/json", func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(w, req.Body) })
	r.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("on purpose") })
	r.Get("/stream", stream)
	r.Get("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, large) })
	check(t, serve(t, r), requests...)
}

func TestGin(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultErrorWriter = io.Discard
	r := gin.New()
	r.Use(gin.Recovery())
	r.GET("/hello/:name", func(c *gin.Context) { c.String(200, "hello %s", c.Param("name")) })
	r.POST("/json", func(c *gin.Context) {
		var v struct{ Name string }
		if err := c.ShouldBindJSON(&v); err != nil {
			c.AbortWithStatus(400)
			return
		}
		c.JSON(200, v)
	})
	r.GET("/panic", func(*gin.Context) { panic("on purpose") })
	r.GET("/stream", func(c *gin.Context) {
		n := 0
		c.Stream(func(w io.Writer) bool {
			n++
			fmt.Fprintf(w, "part %d\n", n)
			return n < 3
		})
	})
	r.GET("/large", func(c *gin.Context) { c.String(200, large) })
	check(t, serve(t, r), requests...)
}

func TestEcho(t *testing.T) {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	e.Use(echomiddleware.Recover(), echomiddleware.Gzip(), echomiddleware.BodyLimit("1M"))
	e.GET("/hello/:name", func(c echo.Context) error { return c.String(200, "hello "+c.Param("name")) })
	e.POST("/json", func(c echo.Context) error {
		var v struct{ Name string }
		if err := c.Bind(&v); err != nil {
			return err
		}
		return c.JSON(200, v)
	})
	e.GET("/panic", func(echo.Context) error { panic("on purpose") })
	e.GET("/stream", func(c echo.Context) error { stream(c.Response(), c.Request()); return nil })
	e.GET("/large", func(c echo.Context) error { return c.String(200, large) })
	check(t, serve(t, e), requests...)
}

// stream writes a response in parts.
func stream(w http.ResponseWriter, _ *http.Request) {
	rc := http.NewResponseController(w)
	for n := range 3 {
		fmt.Fprintf(w, "part %d\n", n)
		if err := rc.Flush(); err != nil {
			panic(err)
		}
	}
}

// A wrapper is a ResponseWriter of a middleware: it counts, and gives access to the one beneath.
type wrapper struct {
	http.ResponseWriter
	written int
}

func (w *wrapper) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.written += n
	return n, err
}

func (w *wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A gzipWriter compresses what is written to it.
type gzipWriter struct {
	http.ResponseWriter
	z *gzip.Writer
}

func (w gzipWriter) Write(p []byte) (int, error) { return w.z.Write(p) }

func TestAChainOfMiddlewareThatWrapsResponseWriters(t *testing.T) {
	h := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		rc := http.NewResponseController(w)
		switch req.URL.Path {
		case "/hello/you":
			if err := rc.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Errorf("SetWriteDeadline: %v", err)
			}
			if err := rc.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Errorf("SetReadDeadline: %v", err)
			}
			if err := rc.EnableFullDuplex(); err != nil {
				t.Errorf("EnableFullDuplex: %v", err)
			}
			fmt.Fprint(w, "hello")
		case "/large":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzipWriter{w, gzip.NewWriter(w)}
			_, _ = io.WriteString(z, large)
			_ = z.z.Close() // the client sees the failure
		case "/stream":
			stream(w, req)
		case "/json":
			_, _ = io.Copy(w, http.MaxBytesReader(w, req.Body, 3))
		default:
			http.NotFound(w, req)
		}
	}))
	for range 3 {
		inner := h
		h = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { inner.ServeHTTP(&wrapper{ResponseWriter: w}, req) })
	}
	h = http.TimeoutHandler(h, time.Minute, "late")
	mux := http.NewServeMux()
	mux.Handle("/stream", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		stream(&wrapper{ResponseWriter: &wrapper{ResponseWriter: w}}, req)
	}))
	mux.Handle("/", http.StripPrefix("/", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.URL.Path = "/" + req.URL.Path
		h.ServeHTTP(w, req)
	})))
	urls := serve(t, mux)
	check(t, urls, "GET /large", "GET /stream", "POST /json", "GET /missing")
}
