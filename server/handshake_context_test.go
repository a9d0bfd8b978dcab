package server_test

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Its cause is that of Conn.Context: the reason of the connection's end. It also ends with the handshake.
func TestTheContextOfAHandshakeEndsWithTheConnection(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		for name, asked := range map[string]bool{"Context was not called": false, "Context was called before": true} {
			t.Run(name, func(t *testing.T) {
				said, waits, ended := make(chan error, 1), make(chan context.Context, 1), make(chan error, 1)
				config := serverTLS()
				config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					waits <- hello.Context()
					<-hello.Context().Done()
					ended <- context.Cause(hello.Context())
					return nil, hello.Context().Err()
				}
				p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
					if asked {
						_ = c.Context()
					}
					said <- c.StartTLS(config, nil)
					return len(p), nil
				}})
				s := start(t, rig{r.network, false, r.loops}, &server.Server{Handler: p})
				c, nc := p.connect(t, s)
				send(t, nc, "STARTTLS\n")
				testkit.Must(t, testkit.Await(t, said, "the command"))
				send(t, nc, string(clientHello(t)))
				testkit.Await(t, waits, "the handshake")
				c.Abort()
				testkit.CheckErr(t, "the cause", testkit.Await(t, ended, "the context's end"), server.ErrAborted)
				testkit.CheckErr(t, "the cause of Context", context.Cause(c.Context()), server.ErrAborted)
			})
		}
	})
}
