package httpd

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// testFile writes a file of n bytes, no two parts of which are equal.
func testFile(t *testing.T, n int) (name string, content []byte) {
	t.Helper()
	content = make([]byte, 0, n+sha256.Size)
	for i := 0; len(content) < n; i++ {
		sum := sha256.Sum256(fmt.Append(nil, i))
		content = append(content, sum[:]...)
	}
	content = content[:n]
	name = filepath.Join(t.TempDir(), "file")
	testkit.Must(t, os.WriteFile(name, content, 0o600))
	return name, content
}

// Files are sent as net/http sends them: ranges, conditions, HEAD and 304, for a small file, which is copied, and for a large one, which the
// kernel sends.
func TestFilesAreServedAsByNetHTTP(t *testing.T) {
	small, _ := testFile(t, 1000)
	large, _ := testFile(t, 100_000)
	at := time.Unix(1e9, 0)
	for _, name := range []string{small, large} {
		testkit.Must(t, os.Chtimes(name, at, at))
	}
	names := map[string]string{"/small": small, "/large": large}
	somePlacement(t, func(t *testing.T, s *Server) {
		theirs, ours := startPeers(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.RawQuery == "etag" {
				w.Header().Set("ETag", `"tag"`)
			}
			http.ServeFile(w, req, names[req.URL.Path])
		}), func(own *Server) { own.Placement = s.Placement })
		var inputs []string
		for path := range names {
			for _, more := range []string{
				"", "Range: bytes=0-0\r\n", "Range: bytes=10-499\r\n", "Range: bytes=20000-90000\r\n", "Range: bytes=-1\r\n", "Range: bytes=-70000\r\n", "Range: bytes=5-\r\n",
				"Range: bytes=0-9,20-29\r\n", "Range: bytes=0-39999,50000-90000\r\n", "Range: bytes=400000-\r\n", "Range: bytes=x\r\n", "Range: lines=1-2\r\n", "Range: bytes=5-2\r\n",
				"If-Modified-Since: " + at.UTC().Format(http.TimeFormat) + "\r\n", "If-Modified-Since: " + at.Add(-long).UTC().Format(http.TimeFormat) + "\r\n",
				"If-Unmodified-Since: " + at.Add(-long).UTC().Format(http.TimeFormat) + "\r\n",
				"Range: bytes=1-2\r\nIf-Range: " + at.UTC().Format(http.TimeFormat) + "\r\n", "Range: bytes=1-2\r\nIf-Range: \"other\"\r\n",
			} {
				inputs = append(inputs, get(path, more)+get("/small"), strings.Replace(get(path, more), "GET", "HEAD", 1)+get("/small"))
			}
			for _, more := range []string{"If-None-Match: \"tag\"\r\n", "If-Match: \"other\"\r\n", "If-None-Match: *\r\n", "Range: bytes=1-20000\r\nIf-Range: \"tag\"\r\n"} {
				inputs = append(inputs, get(path+"?etag", more)+get("/small"))
			}
			inputs = append(inputs, "GET "+path+" HTTP/1.0\r\n\r\n", "GET "+path+" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"+get("/small"), post(path, "Content-Length: 0\r\n"))
		}
		compare(t, theirs, ours, inputs)
	})
}

// A part of a file is sent from the file's offset, which moves as if the part had been read, and what follows comes after it.
func TestThePartsOfAFileAreSentFromItsOffset(t *testing.T) {
	name, content := testFile(t, 500_000)
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			f, err := os.Open(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = f.Close() }() // it was only read
			if req.URL.Path == "/length" {
				w.Header().Set("Content-Length", "300005")
			}
			offset := int64(1000)
			_, _ = f.Seek(offset, io.SeekStart) // a regular file
			for _, n := range []int64{100_000, 5000, 150_000, 45_000} {
				m, err := io.CopyN(w, f, n)
				offset += n
				if at, _ := f.Seek(0, io.SeekCurrent); m != n || err != nil || at != offset {
					t.Errorf("CopyN returns %d, %v, and the offset is %d, not %d", m, err, at, offset)
				}
			}
			_, _ = io.WriteString(w, "after") // the client sees it
		})
		for _, path := range []string{"/length", "/chunked"} {
			for _, version := range []string{"1.1", "1.0"} {
				c := dial(t, addr)
				c.send("GET " + path + " HTTP/" + version + "\r\nHost: x\r\n\r\n")
				if resp := c.response(); resp.body != string(content[1000:301_000])+"after" {
					t.Errorf("%s, HTTP/%s: the body has %d bytes, and differs", path, version, len(resp.body))
				}
			}
		}
	})
}

// A copy of a whole file that is longer than the handler has said fails and sends no more than it has said. A file that becomes shorter while it is sent ends
// the connection, since the client waits for the rest.
func TestAFileOfAnotherLengthThanAnnounced(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		name, _ := testFile(t, 4<<20)
		begun, goOn := make(chan struct{}), make(chan struct{})
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			f, err := os.Open(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = f.Close() }() // it was only read
			switch req.URL.Path {
			case "/longer":
				w.Header().Set("Content-Length", "100000")
				_, err := io.Copy(w, f)
				begun <- struct{}{}
				if err != http.ErrContentLength {
					t.Errorf("Copy of a file that is too long: %v", err)
				}
			case "/shorter":
				w.Header().Set("Content-Length", fmt.Sprint(4<<20))
				_ = http.NewResponseController(w).Flush() // the client sees it
				begun <- struct{}{}
				<-goOn
				if n, err := io.Copy(w, f); n >= 4<<20 && err == nil {
					t.Errorf("Copy returns %d, %v", n, err)
				}
			case "/truncated":
				_, _ = io.Copy(w, f) // the client sees it
				begun <- struct{}{}
			}
		})
		c := dial(t, addr)
		c.send(get("/longer"))
		testkit.Await(t, begun, "the copy")
		if text := c.head(); !strings.Contains(text, "Content-Length: 100000\r\n") {
			t.Errorf("the head is %q", text)
		}
		if n := len(c.rest()); n > 100_000 {
			t.Errorf("the body has %d bytes", n)
		}
		c = dial(t, addr)
		c.send("GET /truncated HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		testkit.Await(t, begun, "the copy")
		testkit.Must(t, os.Truncate(name, 1<<20))
		c.head()
		if n := len(c.rest()); n < 1<<20 || n > 4<<20 {
			t.Errorf("the truncated body has %d bytes", n)
		}
		c = dial(t, addr)
		c.send(get("/shorter"))
		testkit.Await(t, begun, "the request")
		c.head()
		goOn <- struct{}{}
		if n := len(c.rest()); n != 1<<20 {
			t.Errorf("the body has %d bytes", n)
		}
	})
}

// noFile is a reader that is no file.
type noFile struct{ io.Reader }

// io.Copy to a ResponseWriter sends the same response from each kind of source.
func TestEachSourceOfAResponseIsCopied(t *testing.T) {
	name, content := testFile(t, 100_000)
	text := strings.Repeat("<html> ", 20_000)
	sources := map[string]func() io.Reader{
		"/reader":      func() io.Reader { return noFile{strings.NewReader(text)} },
		"/writerto":    func() io.Reader { return strings.NewReader(text) },
		"/empty":       func() io.Reader { return noFile{strings.NewReader("")} },
		"/limited":     func() io.Reader { return io.LimitReader(strings.NewReader(text), 3000) },
		"/doubly":      func() io.Reader { return io.LimitReader(io.LimitReader(strings.NewReader(text), 3000), 4000) },
		"/buffer":      func() io.Reader { return bytes.NewBuffer(content) },
		"/fileinfile":  func() io.Reader { f, _ := os.Open(name); return io.LimitReader(io.LimitReader(f, 50_000), 40_000) },
		"/filelimited": func() io.Reader { f, _ := os.Open(name); return io.LimitReader(f, 1<<40) },
		"/file":        func() io.Reader { f, _ := os.Open(name); return f },
		"/nothing":     func() io.Reader { f, _ := os.Open(name); return io.LimitReader(f, 0) },
	}
	somePlacement(t, func(t *testing.T, s *Server) {
		handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.RawQuery == "late" {
				_, _ = io.WriteString(w, "before ") // the client sees it
			}
			src := sources[req.URL.Path]()
			n, err := io.Copy(w, src)
			w.Header().Set(http.TrailerPrefix+"Copied", fmt.Sprint(n, err))
			if l, ok := src.(*io.LimitedReader); ok {
				src = l.R
			}
			if f, ok := src.(*os.File); ok {
				_ = f.Close() // it was only read
			}
		})
		theirs, ours := startPeers(t, handler, func(own *Server) { own.Placement = s.Placement })
		var inputs []string
		for path := range sources {
			for _, query := range []string{"", "?late"} {
				inputs = append(inputs, get(path+query), strings.Replace(get(path+query), "GET", "HEAD", 1), "GET "+path+query+" HTTP/1.0\r\n\r\n")
			}
		}
		compare(t, theirs, ours, inputs)
	})
}
