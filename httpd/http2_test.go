package httpd

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// http2Client returns a client with one connection of its own, which speaks HTTP/2.
func http2Client(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	transport := &http.Transport{TLSClientConfig: config.Clone(), Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// fetch gets a path with HTTP/2.
func fetch(client *http.Client, addr, path string) (status int, err error) {
	resp, err := client.Get("https://" + addr + path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	if resp.ProtoMajor != 2 {
		return 0, errors.New("the response is " + resp.Proto)
	}
	return resp.StatusCode, nil
}

// holding is a handler that holds requests of /hold until the channel goOn has a value.
type holding struct{ begun, goOn chan struct{} }

func newHolding() holding { return holding{make(chan struct{}, 1), make(chan struct{}, 1)} }

func (h holding) ServeHTTP(_ http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/hold" {
		h.begun <- struct{}{}
		<-h.goOn
	}
}

// Connections of HTTP/2 count in MaxConns until they are closed.
func TestConnectionsOfHTTP2CountInMaxConns(t *testing.T) {
	s := &Server{Handler: newHolding(), MaxConns: 2}
	addr, config := serveTLS(t, s)
	clients := []*http.Client{http2Client(t, config), http2Client(t, config), http2Client(t, config)}
	for _, c := range clients[:2] {
		for range 2 { // on one connection
			if status, err := fetch(c, addr, "/"); status != http.StatusOK {
				t.Fatalf("the response is %d, %v", status, err)
			}
		}
	}
	w := &slow{Server: s}
	if n := w.stats().OpenConns; n != 2 {
		t.Errorf("%d connections are open, want 2", n)
	}
	for range 3 {
		if status, err := fetch(clients[2], addr, "/"); err == nil {
			t.Errorf("the response on a connection above MaxConns is %d", status)
		}
	}
	clients[0].CloseIdleConnections()
	testkit.Until(t, "the end of a connection", func() bool { return w.stats().OpenConns == 1 })
	if status, err := fetch(clients[2], addr, "/"); status != http.StatusOK {
		t.Errorf("the response is %d, %v", status, err)
	}
}

// Shutdown waits for the requests of HTTP/2, and ends idle connections at once.
func TestShutdownWaitsForRequestsOfHTTP2(t *testing.T) {
	t.Parallel() // net/http waits for a second after GOAWAY
	h := newHolding()
	s := &Server{Handler: h}
	addr, config := serveTLS(t, s)
	idle, busy := http2Client(t, config), http2Client(t, config)
	if _, err := fetch(idle, addr, "/"); err != nil {
		t.Fatal(err)
	}
	responded := make(chan error, 1)
	go func() {
		_, err := fetch(busy, addr, "/hold")
		responded <- err
	}()
	testkit.Await(t, h.begun, "the request")
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	testkit.Until(t, "the end of the idle connection", func() bool { return (&slow{Server: s}).stats().OpenConns == 1 })
	select {
	case err := <-ended:
		t.Fatalf("Shutdown has not waited: %v", err)
	default:
	}
	h.goOn <- struct{}{}
	testkit.Must(t, testkit.Await(t, responded, "the response"))
	testkit.Must(t, testkit.Await(t, ended, "the end of Shutdown"))
}

// The end of Shutdown's context, and Close, end the connections of HTTP/2 also with requests in progress.
func TestTheEndOfShutdownsContextEndsRequestsOfHTTP2(t *testing.T) {
	for name, end := range map[string]func(s *Server) error{
		"Close": (*Server).Close,
		"Shutdown": func(s *Server) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
				return errors.Join(errors.New("Shutdown has not returned the context's error"), err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolding()
			s := &Server{Handler: h}
			addr, config := serveTLS(t, s)
			responded := make(chan error, 1)
			go func() {
				_, err := fetch(http2Client(t, config), addr, "/hold")
				responded <- err
			}()
			testkit.Await(t, h.begun, "the request")
			testkit.Must(t, end(s))
			if err := testkit.Await(t, responded, "the response"); err == nil {
				t.Error("the request has got a response")
			}
			h.goOn <- struct{}{}
			testkit.Until(t, "the end of the connection", func() bool { return (&slow{Server: s}).stats().OpenConns == 0 })
		})
	}
}

// A connection that chooses HTTP/2 and sends nothing, or no preface, ends by itself or with its client, and does not count then.
func TestAConnectionOfHTTP2WithoutAPrefaceEnds(t *testing.T) {
	t.Parallel() // net/http waits for a second after GOAWAY
	s := &Server{Handler: newHolding(), IdleTimeout: time.Hour, ErrorLog: log.New(io.Discard, "", 0)}
	addr, config := serveTLS(t, s)
	config.NextProtos = []string{"h2"}
	for _, input := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", http2Preface[:10], http2Preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00garbage that is no frame, and long enough to be seen as one"} {
		var nc net.Conn = dialTLS(t, addr, config)
		_, err := io.WriteString(nc, input)
		testkit.Must(t, err)
		testkit.Must(t, nc.Close())
		testkit.Until(t, "the end of the connection", func() bool { st := (&slow{Server: s}).stats(); return st.Opened > 0 && st.OpenConns == 0 })
	}
}

// HTTP2 configures the connections with HTTP/2: the first frame of the server, its settings, has MaxConcurrentStreams. See RFC 9113, section 6.5.
func TestTheConfigurationOfHTTP2IsUsed(t *testing.T) {
	const most = 12345
	addr, config := serveTLS(t, &Server{Handler: newHolding(), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: most}})
	config.NextProtos = []string{"h2"}
	c := dialTLS(t, addr, config)
	c.send(http2Preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // no settings of the client
	var header [9]byte
	_, err := io.ReadFull(c.r, header[:])
	testkit.Must(t, err)
	settings := make([]byte, int(header[1])<<8|int(header[2]))
	_, err = io.ReadFull(c.r, settings)
	testkit.Must(t, err)
	got := uint32(0)
	for ; len(settings) >= 6; settings = settings[6:] {
		if binary.BigEndian.Uint16(settings) == 3 { // SETTINGS_MAX_CONCURRENT_STREAMS
			got = binary.BigEndian.Uint32(settings[2:])
		}
	}
	if header[3] != 4 || got != most { // 4 is the type of a SETTINGS frame
		t.Errorf("the first frame has type %d and allows %d streams, want 4 and %d", header[3], got, most)
	}
}

const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
