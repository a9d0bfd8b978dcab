package examples_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A guest is a WebSocket of the chat, as its page makes it.
type guest struct {
	t     *testing.T
	conn  *websocket.Conn
	notes chan string // with the JSON of each
	ends  chan *websocket.CloseError
}

// enter connects to the chat at addr.
func enter(t *testing.T, loops *server.Server, addr, query string) *guest {
	t.Helper()
	g := &guest{t: t, notes: make(chan string, 1000), ends: make(chan *websocket.CloseError, 1)}
	h, err := websocket.NewHandler(&websocket.Config{
		Message: func(_ websocket.Reply, _ websocket.MessageType, p []byte) { g.notes <- string(p) },
		Closed:  func(_ *websocket.Conn, e *websocket.CloseError) { g.ends <- e },
		Deflate: true,
	})
	testkit.Must(t, err)
	ctx, cancel := testkit.Soon()
	defer cancel()
	g.conn, err = websocket.Dial(ctx, "ws://"+addr+"/chat?"+query, &websocket.DialConfig{Server: loops, Handler: h})
	testkit.Must(t, err)
	return g
}

// hears waits for a note that has all of the texts.
func (g *guest) hears(texts ...string) (heard string) {
	g.t.Helper()
	for {
		heard = testkit.Await(g.t, g.notes, "a note with "+strings.Join(texts, " "))
		missing := false
		for _, text := range texts {
			missing = missing || !strings.Contains(heard, text)
		}
		if !missing {
			return heard
		}
	}
}

func TestWSChatSendsToAllAndTellsWhoIsThere(t *testing.T) {
	p := start(t, build(t, "wschat"), "-addr", "127.0.0.1:0")
	addr := p.line("listening on ")
	loops := &server.Server{NumLoops: 1, Handler: server.HandlerFunc(func(_ *server.Conn, p []byte) (int, error) { return len(p), nil })}
	testkit.Must(t, loops.Start())
	defer func() { testkit.Must(t, loops.Close()) }()

	status, header, body := fetch(t, http.DefaultClient, "http://"+addr+"/")
	if status != http.StatusOK || !strings.Contains(string(body), "<title>Chat</title>") || header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("the page is %d %q", status, header)
	}
	http.DefaultClient.CloseIdleConnections()

	ann := enter(t, loops, addr, "name=ann")
	ann.hears(`"here"`, `["ann"]`)
	bob := enter(t, loops, addr, "name=bob")
	ann.hears(`"here"`, `["ann","bob"]`)
	testkit.Must(t, ann.conn.WriteText("hello"))
	var run string
	for _, g := range []*guest{ann, bob} {
		n := g.hears(`"id":1`, `"name":"ann"`, `"text":"hello"`)
		_, run, _ = strings.Cut(n, `"run":"`)
		run, _, _ = strings.Cut(run, `"`)
	}
	testkit.Must(t, bob.conn.Close(websocket.CloseNormal, ""))
	ann.hears(`"here"`, `["ann"]`)
	for i := range 3 {
		testkit.Must(t, ann.conn.WriteText(fmt.Sprint("missed ", i)))
	}
	ann.hears("missed 2")
	bob = enter(t, loops, addr, url.Values{"name": {"bob"}, "run": {run}, "last": {"1"}}.Encode())
	for i := range 3 { // and not "hello" again
		if n := testkit.Await(t, bob.notes, "a note"); !strings.Contains(n, fmt.Sprint("missed ", i)) {
			t.Errorf("the page that comes again is sent %s", n)
		}
	}
	eve := enter(t, loops, addr, "name=eve&run=other&last=1000")
	eve.hears("hello")
	nameless := enter(t, loops, addr, "name=%20")
	if e := testkit.Await(t, nameless.ends, "the end"); e.Code != websocket.ClosePolicyViolation {
		t.Errorf("without a name: %v", e)
	}
	p.signal(syscall.SIGTERM)
	for _, g := range []*guest{ann, bob, eve} {
		if e := testkit.Await(t, g.ends, "the end"); e.Code != websocket.CloseGoingAway || !e.ByPeer || e.Err != nil {
			t.Errorf("the end is %v", e)
		}
	}
	p.wait()
}
