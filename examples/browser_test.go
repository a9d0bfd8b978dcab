package examples_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A browser is a Chromium without a window, which is controlled by the DevTools protocol.
type browser struct {
	t     *testing.T
	addr  string // of the protocol
	loops *server.Server
}

// startBrowser runs Chromium until the end of the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	if !testkit.Foreign() {
		t.Skip("Chromium takes seconds to start, and is run with EVMQ_FOREIGN=1 only")
	}
	dir, err := os.MkdirTemp("", "chromium") // not t.TempDir, because processes of Chromium may write there a little longer than it runs
	testkit.Must(t, err)
	cmd := exec.Command(testkit.Program(t, "chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--remote-debugging-port=0", "--user-data-dir="+dir, "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var messages bytes.Buffer
	cmd.Stderr = &messages
	cmd.WaitDelay = time.Second // the browser's other processes have its output, too
	testkit.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // of the group; it may have ended
		_ = cmd.Wait()                                      // it was killed
		_ = os.RemoveAll(dir)                               // a directory for temporary files
		if t.Failed() {
			t.Logf("Chromium says:\n%s", &messages)
		}
	})
	b := &browser{t: t, loops: &server.Server{NumLoops: 1, Handler: server.HandlerFunc(func(_ *server.Conn, p []byte) (int, error) { return len(p), nil })}}
	testkit.Must(t, b.loops.Start())
	t.Cleanup(func() { testkit.Must(t, b.loops.Close()) })
	testkit.Until(t, "Chromium listens", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		port, _, ok := strings.Cut(string(text), "\n")
		b.addr = "127.0.0.1:" + port
		return err == nil && ok
	})
	return b
}

// A tab is a page of the browser. Its methods are for the test's goroutine.
type tab struct {
	t    *testing.T
	conn *websocket.Conn

	mu      sync.Mutex // guards answers
	answers map[int]chan json.RawMessage
	number  int // of the latest command
}

// open opens a page in a tab with the size of a phone or of a screen.
func (b *browser) open(url string, width, height int) *tab {
	b.t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest(http.MethodPut, "http://"+b.addr+"/json/new?about:blank", nil)
	testkit.Must(b.t, err)
	resp, err := client.Do(req)
	testkit.Must(b.t, err)
	var target struct{ WebSocketDebuggerURL string }
	testkit.Must(b.t, json.NewDecoder(resp.Body).Decode(&target))
	testkit.Must(b.t, resp.Body.Close())
	p := &tab{t: b.t, answers: make(map[int]chan json.RawMessage)}
	h, err := websocket.NewHandler(&websocket.Config{MaxMessage: 64 << 20, Message: func(_ websocket.Reply, _ websocket.MessageType, text []byte) { p.take(text) }})
	testkit.Must(b.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.conn, err = websocket.Dial(ctx, target.WebSocketDebuggerURL, &websocket.DialConfig{Server: b.loops, Handler: h})
	testkit.Must(b.t, err)
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}, nil)
	p.call("Page.navigate", map[string]any{"url": url}, nil)
	p.until("the page is loaded", fmt.Sprintf("location.href.startsWith(%q) && document.readyState === 'complete'", url))
	return p
}

// take takes a message of the browser: the answer to a command, or an event, which is ignored.
func (p *tab) take(text []byte) {
	var m struct {
		ID     int
		Result json.RawMessage
		Error  json.RawMessage
	}
	if err := json.Unmarshal(text, &m); err != nil || m.ID == 0 {
		return
	}
	p.mu.Lock()
	answer := p.answers[m.ID]
	delete(p.answers, m.ID)
	p.mu.Unlock()
	if m.Error != nil {
		m.Result = m.Error
	}
	answer <- m.Result
}

// call sends a command and stores its result.
func (p *tab) call(method string, params map[string]any, result any) {
	p.t.Helper()
	answer := make(chan json.RawMessage, 1)
	p.mu.Lock()
	p.number++
	p.answers[p.number] = answer
	text, err := json.Marshal(map[string]any{"id": p.number, "method": method, "params": params})
	p.mu.Unlock()
	testkit.Must(p.t, err)
	testkit.Must(p.t, p.conn.WriteText(string(text)))
	got := testkit.Await(p.t, answer, "the answer to "+method)
	if result != nil {
		testkit.Must(p.t, json.Unmarshal(got, result))
	}
}

// evaluate returns the value of an expression of the page as text.
func (p *tab) evaluate(expression string) string {
	p.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails struct{ Exception struct{ Description string } }
	}
	p.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &r)
	if text := r.ExceptionDetails.Exception.Description; text != "" {
		p.t.Fatalf("%s: %s", expression, text)
	}
	return fmt.Sprint(r.Result.Value)
}

// until waits until an expression is true.
func (p *tab) until(what, expression string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); p.evaluate(expression) != "true"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s is false for too long: %s\nthe page is %s", what, expression, p.evaluate("document.body.innerText"))
		}
	}
}

// fitsTheScreen requires that nothing is wider than the screen, and that texts and buttons are large enough for fingers and eyes.
func (p *tab) fitsTheScreen() {
	p.t.Helper()
	if got := p.evaluate("document.documentElement.scrollWidth + ' ' + innerWidth"); got != strings.Repeat(got[:len(got)/2]+" ", 2)[:len(got)] {
		p.t.Errorf("the page and the screen have the widths %s", got)
	}
	if got := p.evaluate("[...document.querySelectorAll('input, button')].filter(e => e.offsetHeight && (e.offsetHeight < 40 || parseFloat(getComputedStyle(e).fontSize) < 16)).map(e => e.outerHTML).join()"); got != "" {
		p.t.Errorf("too small are %s", got)
	}
}

// hasNoColor requires that all colours are shades of grey, and that the page has loaded nothing besides itself.
func (p *tab) hasNoColor() {
	p.t.Helper()
	if got := p.evaluate(`[...document.querySelectorAll('*')].flatMap(e => { const s = getComputedStyle(e); return [s.color, s.backgroundColor, s.borderTopColor] })
		.filter(c => { const [r, g, b] = c.match(/[\d.]+/g); return r !== g || g !== b }).join()`); got != "" {
		p.t.Errorf("the page has the colours %s", got)
	}
	if got := p.evaluate("performance.getEntriesByType('resource').filter(r => !r.name.startsWith(location.origin)).map(r => r.name).join()"); got != "" {
		p.t.Errorf("the page has loaded %s", got)
	}
}

// screenshot stores a picture of the page in the directory that EVMQ_SCREENSHOTS names, for people to look at.
func (p *tab) screenshot(name string) {
	p.t.Helper()
	dir := os.Getenv("EVMQ_SCREENSHOTS")
	if dir == "" {
		return
	}
	var r struct{ Data string }
	p.call("Page.captureScreenshot", map[string]any{"format": "png"}, &r)
	picture, err := base64.StdEncoding.DecodeString(r.Data)
	testkit.Must(p.t, err)
	testkit.Must(p.t, os.MkdirAll(dir, 0o755))
	testkit.Must(p.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}
