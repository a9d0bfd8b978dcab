package server_test

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// After bytes that cannot begin a record, from a client or from a server, the server does not wait for more.
func TestAStreamWithoutTLSIsRefusedAtItsFirstBytes(t *testing.T) {
	for _, say := range []string{"HTTP/1.1 400 Bad Request\r\n\r\n", "hello", "\x16\x12\x00\x00\x10hello", "\x17\x03\x03\xff\xff"} {
		rejected := make(chan error, 1)
		s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: calls{}, OnReject: func(_ *server.Conn, err error) { rejected <- err }})
		nc := s.dialPlain(t)
		send(t, nc, say)
		testkit.CheckErr(t, "OnReject", testkit.Await(t, rejected, "OnReject"), server.ErrHandshake)

		peer, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		defer peer.Close()
		go func() {
			nc, err := peer.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			_, _ = io.WriteString(nc, say)
			_, _ = io.ReadAll(nc)
		}()
		h := newCaller()
		_, err = s.Dial(context.Background(), "tcp", peer.Addr().String(), &server.DialConfig{Handler: h, TLS: clientTLS(), Timeout: testkit.Patience})
		testkit.Must(t, err)
		h.failed(t, server.ErrHandshake)
	}
}
