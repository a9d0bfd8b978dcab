package httpd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// shout is a handler of another protocol: it responds with the input in upper case.
var shout = server.HandlerFunc(func(c *server.Conn, p []byte) (int, error) {
	return c.Write([]byte(strings.ToUpper(string(p))))
})

var upgradeFields = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"shout"}}

const upgradeRequest = "GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"

func upgradeToShout(w http.ResponseWriter) error {
	return Upgrade(w, upgradeFields, func(*server.Conn) (server.Handler, error) { return shout, nil })
}

// The bytes that arrive together with the request, and all that follow, are given to the new handler. Its connection holds no worker.
func TestUpgradePassesTheConnectionToAnotherHandler(t *testing.T) {
	for _, placement := range []server.Placement{server.OnLoop, server.OnWorkers} {
		t.Run(placement.String(), func(t *testing.T) {
			addr := start(t, &Server{Placement: placement, Workers: 1, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Set-Before", "yes")
				if err := upgradeToShout(wrapper{w}); err != nil {
					t.Error(err)
				}
				if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
					t.Errorf("a Write after Upgrade has returned %v", err)
				}
				if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrHijacked) {
					t.Errorf("a Hijack after Upgrade has returned %v", err)
				}
				if err := upgradeToShout(w); !errors.Is(err, http.ErrHijacked) {
					t.Errorf("a second Upgrade has returned %v", err)
				}
			})})
			var clients []*client
			for range 3 {
				c := dial(t, addr)
				c.send(upgradeRequest + "same read")
				resp, err := http.ReadResponse(c.r, nil)
				testkit.Must(t, err)
				testkit.Must(t, resp.Body.Close())
				if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "shout" || resp.Header.Get("X-Set-Before") != "yes" {
					t.Errorf("the response is %v", resp)
				}
				clients = append(clients, c)
				c.want("SAME READ")
			}
			for _, c := range clients {
				c.send("later")
				c.want("LATER")
			}
		})
	}
}

// want reads text.
func (c *client) want(text string) {
	c.t.Helper()
	p := make([]byte, len(text))
	if _, err := io.ReadFull(c.r, p); err != nil || string(p) != text {
		c.t.Fatalf("read %q, %v; want %q", p, err, text)
	}
}

// The handler responds to the request otherwise, and its connection serves the next one.
func TestUpgradeIsRefused(t *testing.T) {
	hidden := func(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} }
	refusal := errors.New("of the test")
	tests := map[string]struct {
		request string
		upgrade func(w http.ResponseWriter) error
		want    error
	}{
		"wrapper without Unwrap": {upgradeRequest, func(w http.ResponseWriter) error { return upgradeToShout(hidden(w)) }, http.ErrNotSupported},
		"HTTP/1.0":               {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", upgradeToShout, http.ErrNotSupported},
		"unread body":            {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxy", upgradeToShout, http.ErrNotSupported},
		"response has begun": {upgradeRequest, func(w http.ResponseWriter) error {
			w.WriteHeader(http.StatusTeapot)
			return upgradeToShout(w)
		}, http.ErrNotSupported},
		"next fails": {upgradeRequest, func(w http.ResponseWriter) error {
			return Upgrade(w, nil, func(*server.Conn) (server.Handler, error) { return nil, refusal })
		}, refusal},
		"invalid handler": {upgradeRequest, func(w http.ResponseWriter) error {
			return Upgrade(w, nil, func(*server.Conn) (server.Handler, error) { return &server.Dispatcher{}, nil })
		}, server.ErrInvalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				testkit.CheckErr(t, "Upgrade", test.upgrade(w), test.want)
				w.WriteHeader(http.StatusTeapot)
			})})
			c := dial(t, addr)
			for range 2 {
				c.send(test.request)
				if resp := c.response(); resp.status != http.StatusTeapot {
					t.Fatalf("status %d", resp.status)
				}
			}
		})
	}
}

// The server of net/http, and HTTP/2, have no Upgrader.
func TestUpgradeIsNotSupportedByOtherServers(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		testkit.CheckErr(t, "Upgrade", upgradeToShout(w), http.ErrNotSupported)
		w.WriteHeader(http.StatusTeapot)
	})
	ts := httptest.NewServer(h)
	defer ts.Close()
	get := func(client *http.Client, url string) {
		resp, err := client.Get(url)
		testkit.Must(t, err)
		testkit.Must(t, resp.Body.Close())
		if resp.StatusCode != http.StatusTeapot {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	get(ts.Client(), ts.URL)
	addr, client := startTLS(t, &Server{Handler: h}, true)
	get(client, "https://"+addr)
	client.CloseIdleConnections()
}

func TestAPanicAfterUpgradeEndsTheConnection(t *testing.T) {
	addr := start(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		testkit.Must(t, upgradeToShout(w))
		panic(http.ErrAbortHandler)
	})})
	c := dial(t, addr)
	c.send(upgradeRequest)
	if _, err := io.Copy(io.Discard, c.r); err != nil {
		var oe *net.OpError
		if !errors.As(err, &oe) {
			t.Error(err)
		}
	}
}

// Upgrade fails during a Shutdown, which would not know the new handler. The handler of the request then sends its response.
func TestUpgradeIsRefusedInAShutdown(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		testkit.CheckErr(t, "Upgrade", upgradeToShout(w), http.ErrServerClosed)
		w.WriteHeader(http.StatusServiceUnavailable)
	})}
	c := dial(t, start(t, s))
	c.send(upgradeRequest)
	testkit.Await(t, begun, "the request")
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	testkit.Until(t, "the shutdown", s.isClosed)
	close(release)
	if resp := c.response(); resp.status != http.StatusServiceUnavailable || !resp.closes {
		t.Errorf("the response is %+v", resp)
	}
	c.wantEnd()
	testkit.Must(t, c.Close())
	testkit.Must(t, testkit.Await(t, done, "the end of Shutdown"))
}
