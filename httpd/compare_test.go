package httpd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// A peer is a server under comparison.
type peer struct {
	name string
	addr string
}

// startPeers starts net/http's server and ours with the same handler.
func startPeers(t testing.TB, h http.Handler, configure ...func(*Server)) (theirs, ours peer) {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	l1, l2 := listen(t), listen(t)
	hs := &http.Server{Handler: h, ErrorLog: quiet}
	s := &Server{Handler: h, ErrorLog: quiet, NumLoops: 1}
	for _, fn := range configure {
		fn(s)
	}
	hs.ReadHeaderTimeout, hs.ReadTimeout, hs.WriteTimeout, hs.IdleTimeout = s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout
	hs.MaxHeaderBytes, hs.DisableGeneralOptionsHandler = s.MaxHeaderBytes, s.DisableGeneralOptionsHandler
	done := make(chan error, 2)
	go func() { done <- hs.Serve(l1) }()
	go func() { done <- s.Serve(l2) }()
	t.Cleanup(func() {
		_ = hs.Close() // the error of Serve is checked
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for range 2 {
			if err := <-done; !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("Serve: %v", err)
			}
		}
	})
	return peer{"net/http", l1.Addr().String()}, peer{"httpd", l2.Addr().String()}
}

// awaitNetHTTP waits for the goroutines of net/http's server that wait for half a second after they have refused a request.
func awaitNetHTTP() {
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(testkit.Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("closeWriteAndWait")) {
			return
		}
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var (
	boundary   = regexp.MustCompile(`[0-9a-f]{60}`) // of multipart bodies
	dateLine   = regexp.MustCompile(`(?m)^Date: .*\r\n`)
	portNumber = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

// exchangeRaw sends input to the server, closes the sending side, and returns all responses of the server, without what differs by chance.
func (p peer) exchangeRaw(t testing.TB, input string) string {
	t.Helper()
	nc, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }() // it was read to the end
	if err := nc.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, input); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Logf("%s: %v", p.name, err) // the server may have refused the beginning
	}
	_ = nc.(*net.TCPConn).CloseWrite() // as above
	text, err := io.ReadAll(nc)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%s: no end of the response to %q; so far %q", p.name, brief(input), text)
	}
	text = boundary.ReplaceAll(text, []byte("boundary"))
	text = dateLine.ReplaceAll(text, []byte("Date: now\r\n"))
	return string(portNumber.ReplaceAll(text, []byte("127.0.0.1:port")))
}

// fields returns the responses in raw in a form in which those that mean the same are equal: without the lengths of chunks. methods are those of
// the requests.
func fields(raw string, methods []string) string {
	var b strings.Builder
	r := bufio.NewReader(strings.NewReader(raw))
	for i := 0; ; {
		if _, err := r.Peek(1); err != nil {
			return b.String()
		}
		req := &http.Request{Method: http.MethodGet}
		if i < len(methods) {
			req.Method = methods[i]
		}
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			fmt.Fprintf(&b, "ERROR %v", err)
			return b.String()
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read
		if resp.StatusCode >= 200 {
			i++
		}
		fmt.Fprintf(&b, "%s %d length %d encoding %q close %v\n", resp.Proto, resp.StatusCode, resp.ContentLength, resp.TransferEncoding, resp.Close)
		_ = resp.Header.Write(&b) // a Builder returns no error
		if req.Method == http.MethodHead && resp.StatusCode >= 400 && resp.Close {
			return b.String() // the text of a refusal follows also then
		}
		text := string(body)
		if resp.StatusCode >= 400 && resp.ContentLength < 0 && resp.Close {
			text = "refusal" // the reason is said in other words
		}
		if err != nil {
			text = "a part" // how much of it is sent before a panic depends on buffers
		}
		fmt.Fprintf(&b, "body %q %v\ntrailer %q\n", text, err, resp.Trailer)
	}
}

var requestMethod = regexp.MustCompile(`(?:^|\n)([A-Z-]+) \S+ HTTP/`)

// methodsOf returns the methods of the requests in input.
func methodsOf(input string) (methods []string) {
	for _, m := range requestMethod.FindAllStringSubmatch(input, -1) {
		methods = append(methods, m[1])
	}
	return methods
}

// brief shortens a text for a message.
func brief(s string) string {
	if len(s) > 400 {
		return s[:200] + "..." + s[len(s)-200:]
	}
	return s
}

// describe responds with what the handler sees of a request.
func describe(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %q %q host %q length %d encoding %q close %v\n", req.Method, req.RequestURI, req.Proto, req.Host, req.ContentLength, req.TransferEncoding, req.Close)
	fmt.Fprintf(&b, "url %+v\nbody %q %v\n", *req.URL, brief(string(body)), kind(err))
	fmt.Fprintf(&b, "trailer %q\n", req.Trailer)
	_ = req.Header.Write(&b) // a Buffer returns no error
	_, _ = w.Write(b.Bytes())
}

// kind returns what a handler can know about an error of a body.
func kind(err error) string {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Sprint(err)
	}
	return "malformed"
}

// number returns the number in a field of the query.
func number(req *http.Request, field string) int {
	n, _ := strconv.Atoi(req.URL.Query().Get(field)) // 0 if it is missing
	return n
}

// html writes the beginning of a page.
func html(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") }

// serveByPath is a handler whose responses depend on the path.
func serveByPath(w http.ResponseWriter, req *http.Request) {
	if fn, ok := handlersByPath[req.URL.Path]; ok {
		fn(w, req)
		return
	}
	http.NotFound(w, req)
}

var handlersByPath = map[string]http.HandlerFunc{
	"/describe": describe,
	"/empty":    func(http.ResponseWriter, *http.Request) {},
	"/status":   func(w http.ResponseWriter, req *http.Request) { w.WriteHeader(number(req, "code")) },
	"/statusbody": func(w http.ResponseWriter, req *http.Request) {
		h := w.Header()
		w.WriteHeader(number(req, "code"))
		_, err := io.WriteString(w, "text")
		h.Set("Late", fmt.Sprint(err))
	},
	"/size": func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", number(req, "n")))
	},
	"/pieces": func(w http.ResponseWriter, _ *http.Request) {
		for i := range 5 {
			fmt.Fprintf(w, "piece %d\n", i)
			w.(http.Flusher).Flush()
		}
	},
	"/large": func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = w.Write(bytes.Repeat([]byte("y"), 1000))
		}
	},
	"/length": func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Length", req.URL.Query().Get("n"))
		if _, err := io.WriteString(w, "0123456789"); err != nil {
			_, _ = io.WriteString(w, "01234")
		}
	},
	"/trailer": func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Trailer", "A, B")
		h.Add("Trailer", "Content-Length")
		_, _ = io.WriteString(w, "body")
		h.Set("A", "1")
		h.Set("C", "not announced")
		h.Set(http.TrailerPrefix+"D", "4")
	},
	"/headers": func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["x-lower"] = []string{"1"}
		h["Many"] = []string{"a", "b\r\nInjected: c", " d "}
		h.Set("Content-Type", "text/x")
		h["Bad Key"] = []string{"x"}
		w.WriteHeader(http.StatusCreated)
		h.Set("After", "x")
		_, _ = io.WriteString(w, "z")
	},
	"/notype": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		w.Header()["Date"] = nil
		html(w)
	},
	"/encoded": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "x")
		html(w)
	},
	"/html": func(w http.ResponseWriter, _ *http.Request) { html(w) },
	"/te": func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Transfer-Encoding", req.URL.Query().Get("te"))
		html(w)
	},
	"/telength": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		w.Header().Set("Content-Length", "6")
		html(w)
	},
	"/close": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		html(w)
	},
	"/keepalive": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "keep-alive")
		w.Header().Set("Content-Length", "6")
		html(w)
	},
	"/early": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		html(w)
	},
	"/panic": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("p", 5000))
		panic(http.ErrAbortHandler)
	},
	"/panicfirst": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"/readpart": func(w http.ResponseWriter, req *http.Request) {
		var b [3]byte
		n, err := io.ReadFull(req.Body, b[:])
		fmt.Fprintf(w, "%q %v", b[:n], kind(err))
	},
	"/closebody": func(w http.ResponseWriter, req *http.Request) {
		err := req.Body.Close()
		n, rerr := req.Body.Read(make([]byte, 1))
		fmt.Fprintf(w, "%v %d %v", kind(err), n, rerr)
	},
	"/redirect": func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, "/other", http.StatusFound) },
	"/content": func(w http.ResponseWriter, req *http.Request) {
		http.ServeContent(w, req, "f.txt", time.Unix(1e9, 0), strings.NewReader("0123456789"))
	},
	"/twice": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		w.WriteHeader(http.StatusNonAuthoritativeInfo)
	},
}

// compare runs the inputs on both servers, and reports each to which the responses differ.
func compare(t *testing.T, theirs, ours peer, inputs []string) {
	t.Helper()
	for _, input := range inputs {
		methods := methodsOf(input)
		want, got := fields(theirs.exchangeRaw(t, input), methods), fields(ours.exchangeRaw(t, input), methods)
		if !sameResponses(got, want) {
			t.Errorf("%q\nthe response of httpd is\n%s\nand that of net/http\n%s", brief(input), brief(got), brief(want))
		}
	}
}

func get(path string, more ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(more, "") + "\r\n"
}

func TestResponsesAreThoseOfNetHTTP(t *testing.T) {
	theirs, ours := startPeers(t, http.HandlerFunc(serveByPath))
	var inputs []string
	for _, path := range []string{"/describe", "/empty", "/size?n=1", "/size?n=2048", "/size?n=2049", "/size?n=5000", "/size?n=100000", "/pieces", "/large",
		"/status?code=204", "/status?code=304", "/status?code=200", "/status?code=418", "/status?code=599", "/status?code=999", "/statusbody?code=204", "/statusbody?code=304",
		"/statusbody?code=500", "/length?n=10", "/length?n=20", "/length?n=5", "/trailer", "/headers", "/notype", "/encoded", "/html",
		"/te?te=identity", "/te?te=chunked", "/te?te=gzip", "/telength", "/close", "/keepalive", "/early", "/panic", "/panicfirst", "/redirect", "/content", "/missing", "/twice",
		"/describe?q=1&%20=%41#frag", "//describe", "/describe%2f", "http://other/describe?x=1", "http://other:80/describe", "*"} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, version := range []string{"HTTP/1.1\r\nHost: x\r\n", "HTTP/1.0\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n", "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"} {
				inputs = append(inputs, method+" "+path+" "+version+"\r\n")
			}
		}
	}
	for _, bodies := range []string{
		"Content-Length: 5\r\n\r\nhello", "Content-Length: 0\r\n\r\n", "Content-Length: 9\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n3\r\n123\r\n0\r\nA: b\r\n\r\n", "Transfer-Encoding: chunked\r\nTrailer: A, B\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
		"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "Expect: nothing\r\nContent-Length: 5\r\n\r\nhello", "Expect: 100-continue\r\n\r\n",
	} {
		for _, path := range []string{"/describe", "/readpart", "/empty", "/closebody", "/large"} {
			inputs = append(inputs, "POST "+path+" HTTP/1.1\r\nHost: x\r\n"+bodies)
		}
	}
	inputs = slices.DeleteFunc(inputs, func(input string) bool { // net/http says keep-alive and closes the connection
		return input == "GET /telength HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" ||
			strings.HasPrefix(input, "GET /panic HTTP/1.0\r\n") // how much is sent depends on buffers
	})
	inputs = append(inputs,
		get("/empty")+get("/size?n=3")+get("/missing")+get("/close")+get("/empty"),
		"POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"+get("/empty"),
		"POST /empty HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"+get("/empty"),
		"POST /empty HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"+get("/empty"),
		"POST /empty HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"+strings.Repeat("z", 200000)+get("/empty"),
		"POST /empty HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n"+strings.Repeat("z", 300000)+get("/empty"),
		"POST /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n"+strings.Repeat("z", 300000)+get("/empty"),
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS /describe HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "CONNECT /describe HTTP/1.1\r\nHost: x\r\n\r\n",
		"M-SEARCH * HTTP/1.1\r\nHost: x\r\n\r\n", get("/content", "Range: bytes=2-4\r\n"), get("/content", "Range: bytes=2-4,6-\r\n"), get("/content", "Range: bytes=20-\r\n"),
		get("/describe", "A: 1\r\na: 2\r\nx-y-z: v\r\n", "Empty:\r\n", "Pragma: no-cache\r\n"), get("/describe", "Host: y\r\n"), "GET /describe HTTP/1.1\r\n\r\n", "GET /describe HTTP/1.1\r\nHost:\r\n\r\n",
		"GET /describe HTTP/1.1\r\nHost: a b\r\n\r\n", "GET /describe HTTP/1.2\r\nHost: x\r\n\r\n", "GET /describe HTTP/2.0\r\nHost: x\r\n\r\n", "GET /describe HTTP/3.0\r\n\r\n", "GET /describe HTTP/0.9\r\n\r\n",
		"GET /describe\r\n\r\n", "GET\r\n\r\n", "/ HTTP/1.1\r\n\r\n", "G@T / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "GET x HTTP/1.1\r\nHost: x\r\n\r\n", "GET /describe HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n",
		"GET /describe HTTP/1.1\r\nHost: x\r\nA : c\r\n\r\n", "GET /describe HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", "GET /describe HTTP/1.1\r\nHost: x\r\nA\r\n\r\n", "GET /describe HTTP/1.1\r\nHost: x\r\n: v\r\n\r\n",
		"GET /describe HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", "GET /describe HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello", "GET /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello",
		"GET /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "GET /describe HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
		"POST /describe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "POST /describe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\nabc",
		"POST /describe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		get("/describe", "Long: "+strings.Repeat("v", 1<<20+8000)+"\r\n"), get("/"+strings.Repeat("p", 1<<20+8000)),
	)
	compare(t, theirs, ours, inputs)
}

// The forms in which net/http is laxer than RFC 9112. Each is refused, and what follows is not handled.
func TestWhatNetHTTPToleratesIsRefused(t *testing.T) {
	_, ours := startPeers(t, http.HandlerFunc(serveByPath))
	for _, input := range []string{
		"GET / HTTP/1.1\nHost: x\n\n",
		"GET / HTTP/1.1\r\nHost: x\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: Host\r\n\r\n0\r\n\r\n",
		"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		got := ours.exchangeRaw(t, input+get("/empty"))
		if !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") || strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") {
			t.Errorf("the response to %q is %q", input, got)
		}
	}
	for _, chunks := range []string{"5 \r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "5;\x01\r\nhello\r\n0\r\n\r\n",
		"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nA\r\n\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n"} {
		got := ours.exchangeRaw(t, "POST /describe HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks+get("/empty"))
		if strings.Count(got, "HTTP/1.1 ") != 1 || !strings.Contains(got, "\r\nConnection: close\r\n") || !strings.Contains(got, " malformed\n") {
			t.Errorf("the response to %q is %q", chunks, got)
		}
	}
}

func TestAnEmptyLineBeforeARequestIsIgnored(t *testing.T) {
	_, ours := startPeers(t, http.HandlerFunc(serveByPath))
	nc, err := net.Dial("tcp", ours.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }() // the test is over
	r := bufio.NewReader(nc)
	for _, input := range []string{"\r\n" + get("/empty"), "\r\n" + get("/empty")} {
		if _, err := io.WriteString(nc, input); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // the connection is closed
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%q: %v, %v", input, resp, err)
		}
	}
}
