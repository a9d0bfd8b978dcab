package httpd

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The bodies of requests and responses are limited by the fields of package server, and an invalid limit is an error of Serve.
func TestTheRatesOfConnectionsAreLimited(t *testing.T) {
	clock := testkit.NewClock()
	limit := server.RateLimit{BytesPerSecond: 1000, Burst: 1000}
	group, err := server.NewRateGroup(limit, limit)
	testkit.Must(t, err)
	for name, set := range map[string]func(s *Server){
		"ReadLimit":  func(s *Server) { s.ReadLimit = limit },
		"WriteLimit": func(s *Server) { s.WriteLimit = limit },
		"RateGroup":  func(s *Server) { s.RateGroup = group },
	} {
		t.Run(name, func(t *testing.T) {
			// The clock runs much faster than the client, which needs some time for its request: no deadline may end that.
			s := &Server{NumLoops: 1, LoopConfig: &event.Config{Clock: clock}, ReadHeaderTimeout: -1, IdleTimeout: -1, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				testkit.CheckErr(t, "the body", err)
				_, _ = w.Write(body) // the client checks it
			})}
			set(s)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			testkit.Must(t, err)
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			began := clock.Now()
			body := strings.Repeat("x", 5000)
			responded := make(chan string, 1)
			go func() {
				tr := &http.Transport{DisableKeepAlives: true}
				resp, err := (&http.Client{Transport: tr}).Post("http://"+l.Addr().String()+"/", "text/plain", strings.NewReader(body))
				if err != nil {
					responded <- err.Error()
					return
				}
				got, _ := io.ReadAll(resp.Body) // compared below
				_ = resp.Body.Close()           // it was read
				responded <- string(got)
			}()
			testkit.Until(t, "the response", func() bool {
				clock.Advance(100 * time.Millisecond)
				return len(responded) > 0
			})
			testkit.WantEqual(t, "the response", <-responded, body)
			if passed := clock.Now() - began; passed < 3*time.Second {
				t.Errorf("it took %v", passed)
			}
			testkit.Must(t, s.Close())
			testkit.CheckErr(t, "Serve", testkit.Await(t, served, "Serve"), http.ErrServerClosed)
		})
	}
	s := &Server{ReadLimit: server.RateLimit{BytesPerSecond: -1}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	testkit.CheckErr(t, "Serve with a negative limit", s.Serve(l), server.ErrInvalid)
}
