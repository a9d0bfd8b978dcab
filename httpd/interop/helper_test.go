package interop_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// limit is the time in which each program has to end.
const limit = 60 * time.Second

// start starts a server for the test and returns its address. The tests run with EVMQ_FOREIGN=1 only, since they take some seconds and say
// nothing on a machine without the programs.
func start(t *testing.T, handler http.Handler) (addr string) {
	t.Helper()
	if !testkit.Foreign() {
		t.Skip("EVMQ_FOREIGN is not 1")
	}
	s := &httpd.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	return serve(t, s, s.Serve)
}

// startTLS is start with TLS and HTTP/2. Its certificate is that of package httptest.
func startTLS(t *testing.T, handler http.Handler) (addr string) {
	t.Helper()
	ts := httptest.NewTLSServer(nil) // for its certificate
	ts.Close()
	s := &httpd.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: ts.TLS.Certificates}}
	return serve(t, s, func(l net.Listener) error { return s.ServeTLS(l, "", "") })
}

// serve calls fn with a listener until the end of the test.
func serve(t *testing.T, s *httpd.Server, fn func(net.Listener) error) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	served := make(chan error, 1)
	go func() { served <- fn(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
	})
	return l.Addr().String()
}

// output runs a program and returns what it prints. The test fails if the program does.
func output(t *testing.T, input io.Reader, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, testkit.Program(t, name), args...)
	cmd.Stdin = input
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &messages)
	}
	return out.String()
}

// background runs a program until the end of the test, and waits until it listens on a socket in the file system.
func background(t *testing.T, socket, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(testkit.Program(t, name), args...)
	messages, err := os.Create(filepath.Join(t.TempDir(), "messages"))
	testkit.Must(t, err)
	cmd.Stdout, cmd.Stderr = messages, messages
	testkit.Must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // says that it has ended, perhaps
		select {
		case <-ended:
		case <-time.After(testkit.Patience):
			_ = cmd.Process.Kill() // as above
			<-ended
		}
		_ = messages.Close() // it is removed
		if t.Failed() {
			text, _ := os.ReadFile(messages.Name()) // for the log only
			t.Logf("%s says:\n%s", name, text)
		}
	})
	testkit.Until(t, name+" listens", func() bool {
		nc, err := net.Dial("unix", socket)
		if err == nil {
			_ = nc.Close() // it was only a question
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s has ended: %v", name, err)
		default:
		}
		return err == nil
	})
}

// handler responds with what the tests look at.
func handler(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") }) // the client sees it
	mux.HandleFunc("/echo", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("the body of %s: %v", req.RemoteAddr, err)
		}
		w.Header().Set("X-Encoding", strings.Join(req.TransferEncoding, ","))
		_, _ = w.Write(body) // as above
	})
	mux.HandleFunc("/proto", func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.Proto) })
	mux.HandleFunc("/client", func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.RemoteAddr) })
	mux.HandleFunc("/pieces", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 5 {
			fmt.Fprintf(w, "piece %d\n", i)
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/content", func(w http.ResponseWriter, req *http.Request) {
		http.ServeContent(w, req, "content.txt", time.Unix(1e9, 0), strings.NewReader(content))
	})
	mux.HandleFunc("/upgrade", func(w http.ResponseWriter, _ *http.Request) {
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		go func() {
			defer func() { _ = nc.Close() }() // the client sees it
			_, _ = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			if _, err := io.Copy(nc, rw); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Logf("the upgraded connection: %v", err)
			}
		}()
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, page) // as above
	})
	return mux
}

// content is the text of /content.
var content = strings.Repeat("0123456789abcdef", 20_000)

// page is a page whose script makes requests, and writes the outcome into the document.
const page = `<!doctype html><title>start</title><body><p id="result">waiting</p><script>
(async () => {
  const echo = await (await fetch('/echo', {method: 'POST', body: 'x'.repeat(100000)})).text();
  const pieces = await (await fetch('/pieces')).text();
  const part = await (await fetch('/content', {headers: {Range: 'bytes=2-5'}})).text();
  const many = await Promise.all([...Array(30).keys()].map(async i => (await fetch('/hello?' + i)).text()));
  document.getElementById('result').textContent = [echo.length, pieces.split('\n').length, part, many.join('').length].join(' ');
})();
</script>`
