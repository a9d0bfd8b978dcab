package server_test

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

func TestANilHandlerFuncIsNoHandler(t *testing.T) {
	s := &server.Server{Handler: server.HandlerFunc(nil)}
	testkit.CheckErr(t, "Start", s.Start(), server.ErrInvalid)
	_ = s.Close()
}

// Each call that starts the server returns the error.
func TestWrongSocketOptionsAreNamed(t *testing.T) {
	for name, o := range map[string]server.SocketOptions{
		"ReadBuffer": {ReadBuffer: -1}, "WriteBuffer": {WriteBuffer: -1}, "UserTimeout": {UserTimeout: -1}, "FastOpen": {FastOpen: -1},
		"KeepAlive.Count": {KeepAlive: net.KeepAliveConfig{Count: 1000}},
	} {
		for way, begin := range map[string]func(s *server.Server) error{
			"Start":          func(s *server.Server) error { return s.Start() },
			"ListenAndServe": func(s *server.Server) error { return s.ListenAndServe("tcp", "127.0.0.1:0") },
			"AddListener": func(s *server.Server) error {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				testkit.Must(t, err)
				defer l.Close()
				_, err = s.AddListener(l, nil)
				return err
			},
		} {
			s := &server.Server{Handler: calls{}, Socket: o, Logger: slog.New(slog.DiscardHandler)}
			err := begin(s)
			testkit.CheckErr(t, way+" with a wrong "+name, err, server.ErrInvalid)
			if err != nil && !strings.Contains(err.Error(), "Socket") || err != nil && !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v does not name Socket and %s", way, err, name)
			}
			testkit.Must(t, s.Close())
		}
	}
}

// A Dispatcher can have another limit.
func TestASplitFuncHas64KB(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		reasons, closed := closings()
		d := echoLines()
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d})
		for over := range 2 {
			nc := s.dial(t)
			line := strings.Repeat("x", framing.DefaultMax-1+over) + "\n"
			go func() { _, _ = io.WriteString(nc, line) }()
			if over == 0 {
				expect(t, nc, line)
				hangUp(nc)
				testkit.Await(t, reasons, "Close")
				continue
			}
			expectEOF(t, nc)
			hangUp(nc)
			testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), framing.ErrTooLong)
		}
	})
}
