package server_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Wait returns what has ended the listener, and later calls the same: a Shutdown after the end of the listener does not change it.
func TestWaitReturnsWhatHasEndedTheListener(t *testing.T) {
	mine := errors.New("mine")
	for name, row := range map[string]struct {
		end  func(s *running, ln *server.Listener, fail func()) error
		want error
	}{
		"Close":        {func(_ *running, ln *server.Listener, _ func()) error { return ln.Close() }, nil},
		"Shutdown":     {func(s *running, _ *server.Listener, _ func()) error { return s.Shutdown(t.Context()) }, server.ErrServerClosed},
		"Server.Close": {func(s *running, _ *server.Listener, _ func()) error { return s.Close() }, server.ErrServerClosed},
		"an error":     {func(_ *running, _ *server.Listener, fail func()) error { fail(); return nil }, mine},
		"Shutdown, Close": {func(s *running, ln *server.Listener, _ func()) error {
			return errors.Join(s.Shutdown(t.Context()), ln.Close())
		}, server.ErrServerClosed},
		"Close and an error": {func(_ *running, ln *server.Listener, fail func()) error { err := ln.Close(); fail(); return err }, nil},
	} {
		for _, blocking := range []bool{false, true} {
			if !blocking && (row.want == mine || name == "Close and an error") {
				continue
			}
			t.Run(name+map[bool]string{false: "", true: ", without a descriptor"}[blocking], func(t *testing.T) {
				s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}})
				inner, err := net.Listen("tcp", "127.0.0.1:0")
				testkit.Must(t, err)
				var failing atomic.Bool
				l := inner
				if blocking {
					l = hidden{Listener: inner, fail: func() error {
						if failing.Load() {
							return mine
						}
						return nil
					}}
				}
				ln, err := s.AddListener(l, nil)
				testkit.Must(t, err)
				fail := func() {
					failing.Store(true)
					nc, err := net.Dial("tcp", inner.Addr().String()) // makes Accept return
					if err == nil {
						hangUp(nc)
					}
				}
				testkit.Must(t, row.end(s, ln, fail))
				for _, when := range []string{"at once", "after a Shutdown"} {
					if got := ln.Wait(); !errors.Is(got, row.want) || (got == nil) != (row.want == nil) {
						t.Errorf("%s Wait returns %v, want %v", when, got, row.want)
					}
					s.shutdown(t)
				}
			})
		}
	}
}
