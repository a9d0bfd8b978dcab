package interop_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// startSockets starts a server with WebSockets at these paths:
//
//	/echo     answers each message with itself; it has the subprotocol chat.v2
//	/deflate  the same with compression
//	/small    the same; messages have at most 1000 bytes
//	/closes   closes with the code and the reason in a message
func startSockets(t *testing.T) (addr string) {
	t.Helper()
	mux := http.NewServeMux()
	echo := func(w websocket.Reply, kind websocket.MessageType, p []byte) { _ = w.WriteMessage(kind, p) } // the client sees it
	handle(t, mux, "/echo", &websocket.Config{Message: echo, MaxMessage: 16 << 20, Subprotocols: []string{"chat.v2"}})
	handle(t, mux, "/deflate", &websocket.Config{Message: echo, MaxMessage: 16 << 20, Deflate: true})
	handle(t, mux, "/small", &websocket.Config{Message: echo, MaxMessage: 1000})
	handle(t, mux, "/closes", &websocket.Config{Message: func(w websocket.Reply, _ websocket.MessageType, p []byte) {
		var n int
		var reason string
		if _, err := fmt.Sscanf(string(p), "%d %s", &n, &reason); err != nil {
			t.Errorf("a request to close: %q: %v", p, err)
		}
		testkit.Must(t, w.Conn().Close(websocket.CloseCode(n), string(p[len("4000 "):])))
	}})
	s := &httpd.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	return serve(t, s, s.Serve)
}

func handle(t *testing.T, mux *http.ServeMux, path string, cfg *websocket.Config) {
	t.Helper()
	h, err := websocket.NewHandler(cfg)
	testkit.Must(t, err)
	mux.Handle(path, h)
}

// socketsPage has a WebSocket, which it opens again when it is closed, with the number of the last message that it has received. Each third message is answered.
const socketsPage = `<!doctype html><title>messages</title><script>
const got = [], codes = [];
let opened = 0;
const open = () => {
  const ws = new WebSocket('ws://' + location.host + '/messages?last=' + got.length, ['numbers']);
  ws.binaryType = 'arraybuffer';
  ws.onopen = () => opened++;
  ws.onmessage = e => {
    got.push(typeof e.data === 'string' ? e.data : new TextDecoder().decode(e.data));
    if (got.length % 3 === 0) ws.send('answer to ' + got.length);
    if (got.length === 1000) ws.close(3000, 'enough');
  };
  ws.onclose = e => {
    if (e.code !== 1006) codes.push(e.code, e.reason, e.wasClean); // 1006: no server listens
    if (got.length < 1000) return setTimeout(open, 10);
    const ordered = got.every((s, i) => s === 'Nachricht ' + (i + 1) + ' \u2603');
    fetch('/result', { method: 'POST', body: [got.length, ordered, opened, ...codes].join(' ') });
  };
};
open();
</script>`

// TestAWebSocketInChromiumContinuesAfterADeploy with a new WebSocket. The first server says that it goes away.
func TestAWebSocketInChromiumContinuesAfterADeploy(t *testing.T) {
	if !testkit.Foreign() {
		t.Skip("EVMQ_FOREIGN is not 1")
	}
	results, half, answers := make(chan string, 1), make(chan string, 1), make(chan string, events)
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, socketsPage) }) // the page shows it
	mux.HandleFunc("/result", result(t, results))
	handle(t, mux, "/messages", &websocket.Config{
		Subprotocols: []string{"numbers"},
		Message: func(_ websocket.Reply, _ websocket.MessageType, p []byte) {
			answers <- string(p)
			if len(answers) == events/2/3 {
				half <- ""
			}
		},
		Opened: func(c *websocket.Conn, req *http.Request) {
			last, _ := strconv.Atoi(req.FormValue("last")) // 0 at first
			to := events
			if last == 0 {
				to /= 2
			}
			go sendMessages(t, c, last+1, to)
		},
	})
	d := deploy(t, mux)
	b := browse(t, "http://"+d.addr+"/page")
	b.await(half)
	d.replace()
	testkit.WantEqual(t, "what the page says", b.await(results), "1000 true 2 1001  true 3000 enough true")
	for i := 3; i <= events; i += 3 {
		testkit.WantEqual(t, "an answer of the page", <-answers, fmt.Sprint("answer to ", i))
	}
}

// sendMessages sends the messages with numbers from first to last, text and binary ones.
func sendMessages(t *testing.T, c *websocket.Conn, first, last int) {
	for i := first; i <= last; i++ {
		kind := websocket.Text
		if i%2 == 0 {
			kind = websocket.Binary
		}
		err := c.WriteMessage(kind, fmt.Appendf(nil, "Nachricht %d \u2603", i))
		for errors.Is(err, websocket.ErrFull) {
			time.Sleep(time.Millisecond) // until the page has read some
			err = c.WriteMessage(kind, fmt.Appendf(nil, "Nachricht %d \u2603", i))
		}
		if err != nil {
			t.Errorf("message %d: %v", i, err)
			return
		}
	}
}
