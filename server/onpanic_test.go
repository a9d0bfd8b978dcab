package server_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// When OnPanic calls runtime.Goexit, the connection of the panic ends with ErrPanic, wherever the panic was, and the server still serves
// the others.
func TestAnOnPanicThatEndsItsGoroutineCostsOneConnection(t *testing.T) {
	for _, where := range []string{"Open", "Data", "Serve", "Concurrent Serve", "Malformed", "Close", "done"} {
		t.Run(where, func(t *testing.T) {
			var reported atomic.Int32
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: panicking(where), Workers: 1, OnPanic: func(*server.Conn, any, []byte) {
				reported.Add(1)
				runtime.Goexit()
			}})
			for range 3 {
				nc := s.dial(t)
				if where == "Malformed" {
					send(t, nc, strings.Repeat("x", 600))
				} else {
					send(t, nc, "panic\n")
				}
				buf := make([]byte, 64)
				for {
					if _, err := nc.Read(buf); err != nil {
						if isTimeout(err) {
							t.Fatal("the connection has not ended")
						}
						break
					}
				}
				testkit.Must(t, nc.Close())
			}
			s.shutdown(t)
			if n := reported.Load(); n < 3 {
				t.Errorf("OnPanic was called %d times for 3 connections", n)
			}
		})
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// The next client's handshake is run, also when MaxHandshakes is one.
func TestAnOnPanicThatEndsAHandshakesGoroutineFreesItsPlace(t *testing.T) {
	config := serverTLS()
	var asked atomic.Int32
	certificates := config.Certificates
	config.Certificates = nil
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if asked.Add(1) == 1 {
			panic("in GetCertificate")
		}
		return &certificates[0], nil
	}
	rejected := make(chan error, 1)
	s := start(t, rig{"tcp", true, 1}, &server.Server{
		Handler: echoLines(), TLS: config, MaxHandshakes: 1, HandshakeTimeout: -1,
		OnPanic:  func(*server.Conn, any, []byte) { runtime.Goexit() },
		OnReject: func(_ *server.Conn, reason error) { rejected <- reason },
	})
	first := s.dial(t).(*tls.Conn)
	if err := first.Handshake(); err == nil || isTimeout(err) {
		t.Fatalf("the first handshake: %v", err)
	}
	if reason := testkit.Await(t, rejected, "OnReject"); !errors.Is(reason, server.ErrPanic) {
		t.Errorf("OnReject was called with %v, want %v", reason, server.ErrPanic)
	}
	second := s.dial(t)
	testkit.Must(t, second.SetDeadline(time.Now().Add(testkit.Patience)))
	send(t, second, "a\n")
	line, err := bufio.NewReader(second).ReadString('\n')
	if err != nil || line != "a\n" {
		t.Errorf("the second client read %q, %v", line, err)
	}
	testkit.Must(t, second.Close())
	s.shutdown(t)
}
