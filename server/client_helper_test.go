package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/evmq/evmq/server"
)

// pipelined sends n numbered lines at once and checks that they come back in order.
func pipelined(nc net.Conn, name string, n int) error {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "%s %d\n", name, i)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(nc, all.String())
		sent <- err
	}()
	got := make([]byte, all.Len())
	m, err := io.ReadFull(nc, got)
	if err != nil {
		return fmt.Errorf("%d of %d bytes came back: %w", m, len(got), err)
	}
	if string(got) != all.String() {
		return fmt.Errorf("the answers to %s are not in the order of its requests", name)
	}
	return <-sent
}

// hangUp closes clients, so that a shutdown need not wait for them to see the end.
func hangUp(clients ...net.Conn) {
	for _, nc := range clients {
		_ = nc.Close() // with TLS the server may have been faster
	}
}

// closings returns a channel of the reasons that Close is called with, and the function that fills it.
func closings() (reasons chan error, closed func(*server.Conn, error)) {
	reasons = make(chan error, 10000)
	return reasons, func(_ *server.Conn, reason error) { reasons <- reason }
}

// asError is errors.As, for an error that may be nil.
func asError[E error](err error, target *E) bool { return err != nil && errors.As(err, target) }
