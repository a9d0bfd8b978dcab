package httpd

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Without keep-alives each response ends its connection, as in net/http, and connections that wait for a request end at once; new ones are served
// once. They can be enabled again.
func TestSetKeepAlivesEnabled(t *testing.T) {
	type settable interface{ SetKeepAlivesEnabled(v bool) }
	each := func(t *testing.T, s settable, addr string, begun, goOn chan struct{}) {
		idle, fresh, busy := dial(t, addr), dial(t, addr), dial(t, addr)
		for _, c := range []*client{idle, busy} {
			c.send(get("/"))
			c.response()
		}
		busy.send(get("/flush"))
		testkit.Await(t, begun, "the request")
		s.SetKeepAlivesEnabled(false)
		idle.wantEnd()
		goOn <- struct{}{}
		if resp := busy.response(); resp.status != http.StatusOK || resp.closes { // its head was sent before
			t.Errorf("the response in progress is %+v", resp)
		}
		busy.wantEnd()
		for _, c := range []*client{fresh, dial(t, addr)} {
			c.send(get("/") + get("/"))
			if resp := c.response(); resp.status != http.StatusOK || !resp.closes || resp.header.Get("Connection") != "close" && resp.header["Connection"] != nil {
				t.Errorf("the response without keep-alives is %+v", resp)
			}
			c.wantEnd()
		}
		s.SetKeepAlivesEnabled(true)
		c := dial(t, addr)
		for range 2 {
			c.send(get("/"))
			if resp := c.response(); resp.status != http.StatusOK || resp.closes {
				t.Errorf("the response with keep-alives is %+v", resp)
			}
		}
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/flush" {
			w.(http.Flusher).Flush()
			begun <- struct{}{}
			<-goOn
		}
	})
	t.Run("net/http", func(t *testing.T) {
		ts := httptest.NewServer(handler)
		defer ts.Close()
		each(t, ts.Config, ts.Listener.Addr().String(), begun, goOn)
	})
	eachPlacement(t, func(t *testing.T, s *Server) {
		s.SetKeepAlivesEnabled(false) // before the start
		s.SetKeepAlivesEnabled(true)
		each(t, s, serve(t, s, handler), begun, goOn)
	})
}

// A connection that speaks another protocol stays open.
func TestSetKeepAlivesEnabledLeavesUpgradedConnections(t *testing.T) {
	eachPlacement(t, func(t *testing.T, s *Server) {
		addr := serve(t, s, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/upgrade" {
				testkit.Must(t, Upgrade(w, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}}, func(*server.Conn) (server.Handler, error) {
					return server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) { _, _ = w.Write(append(line, '\n')) }), nil
				}))
			}
		})
		idle, upgraded := dial(t, addr), dial(t, addr)
		idle.send(get("/"))
		idle.response()
		upgraded.send(get("/upgrade", "Connection: Upgrade\r\nUpgrade: echo\r\n"))
		upgraded.head()
		for range 2 {
			upgraded.send("hello\n")
			if line, err := upgraded.r.ReadString('\n'); line != "hello\n" {
				t.Fatalf("%q, %v", line, err)
			}
			s.SetKeepAlivesEnabled(false)
			idle.wantEnd()
		}
	})
}
