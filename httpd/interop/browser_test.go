package interop_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/internal/testkit"
)

// events is the number of events that a page receives: half of them from one server, and the others from the next.
const events = 1000

// A browser is a Chromium with a page.
type browser struct {
	t        *testing.T
	ended    chan struct{} // closed when it has ended
	messages bytes.Buffer  // what it prints, when it has ended
}

// browse runs Chromium with a page until the end of the test.
func browse(t *testing.T, url string) *browser {
	t.Helper()
	b := &browser{t: t, ended: make(chan struct{})}
	cmd := exec.Command(testkit.Program(t, "chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+t.TempDir(), url)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = &b.messages, &b.messages
	cmd.WaitDelay = time.Second // the browser's other processes have its output, too
	testkit.Must(t, cmd.Start())
	go func() {
		defer close(b.ended)
		_ = cmd.Wait() // it is ended by a signal
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-b.ended:
		case <-time.After(testkit.Patience):
			_ = cmd.Process.Kill() // as above
			<-b.ended
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of its group
		if t.Failed() {
			t.Logf("Chromium says:\n%s", &b.messages)
		}
	})
	return b
}

// await returns what the page has done. The test fails if Chromium ends before, or takes too long.
func (b *browser) await(done <-chan string) string {
	b.t.Helper()
	select {
	case s := <-done:
		return s
	case <-b.ended:
		b.t.Fatal("Chromium has ended")
	case <-time.After(limit):
		b.t.Fatal("the page takes too long")
	}
	return ""
}

// A deployment is a server that is replaced by another one at the same address. Both have the handler.
type deployment struct {
	t       *testing.T
	handler http.Handler
	addr    string
	current *httpd.Server
	served  chan error
}

func deploy(t *testing.T, handler http.Handler) *deployment {
	t.Helper()
	d := &deployment{t: t, handler: handler, addr: "127.0.0.1:0"}
	d.start()
	t.Cleanup(func() {
		_ = d.current.Close() // the page may be gone
		testkit.WantErr(t, testkit.Await(t, d.served, "the end of Serve"), http.ErrServerClosed)
	})
	return d
}

func (d *deployment) start() {
	d.t.Helper()
	l, err := net.Listen("tcp", d.addr)
	testkit.Must(d.t, err)
	d.addr = l.Addr().String()
	s := &httpd.Server{Handler: d.handler}
	served := make(chan error, 1)
	d.current, d.served = s, served
	go func() { served <- s.Serve(l) }()
}

// replace ends the server in order and starts the next one.
func (d *deployment) replace() {
	d.t.Helper()
	ctx, cancel := testkit.Soon()
	defer cancel()
	testkit.Must(d.t, d.current.Shutdown(ctx))
	testkit.WantErr(d.t, testkit.Await(d.t, d.served, "the end of Serve"), http.ErrServerClosed)
	d.start()
}

// result responds to the page, and passes on what the page has posted.
func result(t *testing.T, results chan<- string) http.HandlerFunc {
	return func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("the result: %v", err)
		}
		results <- string(body)
	}
}

// eventsPage has an EventSource, which connects again by itself, with the last identifier that it has received.
const eventsPage = `<!doctype html><title>events</title><script>
const got = [], source = new EventSource('/events');
let opened = 0, named = 0;
source.onopen = () => opened++;
const take = e => {
  got.push(e.lastEventId + ':' + e.data);
  if (got.length < 1000) return;
  source.close();
  const ordered = got.every((s, i) => s === (i + 1) + ':event ' + (i + 1) + '\nsecond line');
  fetch('/result', { method: 'POST', body: [got.length, ordered, named, opened].join(' ') });
};
source.onmessage = take;
source.addEventListener('tenth', e => { named++; take(e); });
</script>`

// TestAnEventSourceInChromiumContinuesAfterADeploy with the event that follows the last one it has received.
func TestAnEventSourceInChromiumContinuesAfterADeploy(t *testing.T) {
	if !testkit.Foreign() {
		t.Skip("EVMQ_FOREIGN is not 1")
	}
	results, half, leave := make(chan string, 1), make(chan string, 1), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, eventsPage) }) // the page shows it
	mux.HandleFunc("/result", result(t, results))
	mux.HandleFunc("/events", func(w http.ResponseWriter, req *http.Request) {
		from, _ := strconv.Atoi(req.Header.Get("Last-Event-ID")) // 0 at first
		to := events
		if from == 0 {
			to /= 2
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-cache")
		for i := from + 1; i <= to; i++ {
			_, _ = io.WriteString(w, streamEvent(i)) // as above
			w.(http.Flusher).Flush()
		}
		if from == 0 {
			half <- ""
			<-leave
		}
	})
	d := deploy(t, mux)
	b := browse(t, "http://"+d.addr+"/page")
	b.await(half)
	close(leave)
	d.replace()
	testkit.WantEqual(t, "what the page says", b.await(results), "1000 true 100 2")
}

// streamEvent is an event in the format of event streams: with an identifier, two lines of data, and for each tenth one a name.
func streamEvent(i int) string {
	var b strings.Builder
	n := strconv.Itoa(i)
	if i == 1 {
		b.WriteString("retry: 10\n: a comment\n")
	}
	if i%10 == 0 {
		b.WriteString("event: tenth\n")
	}
	b.WriteString("id: " + n + "\ndata: event " + n + "\ndata: second line\n\n")
	return b.String()
}
