package httpd

import (
	"io"
	"log"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// A handler that panics or calls runtime.Goexit ends its connection after what it has sent, and nothing else. The rest of the response is dropped.
func TestThePanicOfAHandlerEndsItsConnection(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		var logged syncBuffer
		s.ErrorLog = log.New(&logged, "", 0)
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			switch what := req.URL.Path[1:]; what {
			case "ok":
				return
			case "nil":
				panic(nil)
			case "abort":
				panic(http.ErrAbortHandler)
			case "goexit":
				runtime.Goexit()
			case "gathered":
				_, _ = io.WriteString(w, "not sent") // gathered
				panic(what)
			case "sent":
				_, _ = io.WriteString(w, "sent")
				_ = http.NewResponseController(w).Flush() // the client sees it
				panic(what)
			case "body":
				_, _ = io.ReadFull(req.Body, make([]byte, 2)) // the rest is not read
				panic(what)
			case "hijacked":
				_, _, _ = http.NewResponseController(w).Hijack() // the client sees the panic
				panic(what)
			default:
				panic(what)
			}
		})
		other := dial(t, addr)
		for _, row := range []struct{ path, body, log string }{
			{"value", "", "value"},
			{"nil", "", "panic called with nil argument"},
			{"abort", "", ""},
			{"goexit", "", ""},
			{"gathered", "", "gathered"},
			{"sent", "4\r\nsent\r\n", "sent"},
			{"body", "", "body"},
		} {
			before := len(logged.String())
			c := dial(t, addr)
			c.send("GET /" + row.path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + get("/ok"))
			_, got, _ := strings.Cut(c.rest(), "\r\n\r\n")
			if got != row.body {
				t.Errorf("%s: the response is %q", row.path, got)
			}
			if text := logged.String()[before:]; row.log == "" && text != "" || row.log != "" && !strings.Contains(text, "panic serving "+c.LocalAddr().String()+": "+row.log) {
				t.Errorf("%s: the log is %q", row.path, text)
			}
			other.send(get("/ok"))
			if resp := other.response(); resp.status != http.StatusOK {
				t.Errorf("%s: the response on another connection is %v", row.path, resp)
			}
		}
	})
}

// The connection that a handler has taken is its own, also when it panics: a goroutine of the handler may use it.
func TestThePanicOfAHandlerLeavesTheConnectionThatItHasTaken(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		var logged syncBuffer
		s.ErrorLog = log.New(&logged, "", 0)
		goOn := make(chan struct{})
		addr := serve(t, s, func(w http.ResponseWriter, _ *http.Request) {
			nc, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("Hijack: %v", err)
				return
			}
			go func() {
				<-goOn
				_, _ = io.WriteString(nc, "late") // the client sees it
				_ = nc.Close()                    // as above
			}()
			panic("hijacked")
		})
		c := dial(t, addr)
		c.send(get("/"))
		testkit.Until(t, "the panic is logged", func() bool { return strings.Contains(logged.String(), "hijacked") })
		close(goOn)
		if got := c.rest(); got != "late" {
			t.Errorf("the client gets %q", got)
		}
	})
}
