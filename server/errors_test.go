package server_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Errors of closed things match net.ErrClosed, and those of deadlines are timeouts, also when wrapped.
func TestErrorsMatchThoseOfTheStandardLibrary(t *testing.T) {
	closed := []error{server.ErrClosed, server.ErrServerClosed, server.ErrReplyEnded}
	timeouts := []error{
		server.ErrIdle, server.ErrFirstRequest, server.ErrReadTimeout, server.ErrWriteTimeout, server.ErrCloseTimeout, server.ErrReplyTimeout, server.ErrDialTimeout,
	}
	others := []error{
		server.ErrNotStarted, server.ErrInvalid, server.ErrFull, server.ErrAborted, server.ErrTooLong, server.ErrOverload,
		server.ErrHandler, server.ErrYield, server.ErrPanic, server.ErrUnsupported, server.ErrHandshake, server.ErrDetached, server.ErrProxyHeader,
	}
	check := func(errs []error, isClosed, isTimeout bool) {
		for _, sentinel := range errs {
			for _, err := range []error{sentinel, fmt.Errorf("write 3 bytes: %w", sentinel)} {
				var ne net.Error
				timeout := errors.As(err, &ne) && ne.Timeout()
				if errors.Is(err, net.ErrClosed) != isClosed || timeout != isTimeout || errors.Is(err, os.ErrDeadlineExceeded) != isTimeout {
					t.Errorf("%v: net.ErrClosed %v, Timeout %v, os.ErrDeadlineExceeded %v; want %v, %v, %v",
						err, errors.Is(err, net.ErrClosed), timeout, errors.Is(err, os.ErrDeadlineExceeded), isClosed, isTimeout, isTimeout)
				}
				if !errors.Is(err, sentinel) {
					t.Errorf("%v does not match its sentinel", err)
				}
			}
		}
	}
	check(closed, true, false)
	check(timeouts, false, true)
	check(others, false, false)
	if errors.Is(server.ErrReplyEnded, server.ErrClosed) || errors.Is(server.ErrClosed, server.ErrServerClosed) {
		t.Error("errors of this package match each other")
	}
}

// This holds for a TLS handshake and for a PROXY header.
func TestAHandshakeThatDoesNotEndInTimeIsATimeout(t *testing.T) {
	for name, want := range map[string]error{"tls": server.ErrHandshake, "proxy": server.ErrProxyHeader} {
		t.Run(name, func(t *testing.T) {
			rejected := make(chan error, 1)
			s, clock := startWithClock(t, rig{"tcp", name == "tls", 1}, &server.Server{
				Handler: calls{}, ProxyProtocol: name == "proxy", HandshakeTimeout: limit,
				OnReject: func(_ *server.Conn, err error) { rejected <- err },
			})
			s.dialPlain(t)
			testkit.Until(t, "the connection", func() bool { return s.Stats().Loops[0].OpenConns == 1 })
			begun := make(chan struct{}) // after the callback in which the connection is made, and its deadline set
			testkit.Must(t, s.Loop(0).Post(func() { close(begun) }))
			testkit.Await(t, begun, "the handshake's beginning")
			clock.Advance(limit)
			err := testkit.Await(t, rejected, "OnReject")
			testkit.CheckErr(t, "OnReject", err, want)
			testkit.CheckErr(t, "OnReject", err, os.ErrDeadlineExceeded)
		})
	}
}
