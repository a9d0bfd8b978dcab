package server_test

import (
	"net"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// More of them than there are handshakes and workers, some in the middle of a ClientHello, delay no other client, and the handler is not
// called for them.
func TestSilentClientsTakeNoHandshake(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		r.tls = true
		rejected := make(chan error, 100)
		s := start(t, r, &server.Server{MaxHandshakes: 1, Workers: 1, Handler: echoLines(), OnReject: func(_ *server.Conn, err error) { rejected <- err }})
		var silent []net.Conn
		for i := range 20 {
			nc := s.dialPlain(t)
			if i%2 == 0 {
				send(t, nc, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and no more")
			}
			silent = append(silent, nc)
		}
		for range 3 {
			nc := s.dial(t)
			testkit.Must(t, pipelined(nc, "hello", 10))
			closeWrite(t, nc)
			expectEOF(t, nc) // with a close_notify; without it the read fails
			hangUp(nc)
		}
		hangUp(silent...)
		for range silent {
			testkit.CheckErr(t, "OnReject", testkit.Await(t, rejected, "OnReject"), server.ErrHandshake)
		}
		s.shutdown(t)
		if st := s.Stats(); st.Opened != 3 || st.Closed != 3 || st.Handshakes != 3 || st.FailedHandshakes != 20 {
			t.Errorf("%+v", st)
		}
	})
}

// Clients that send nothing take no place, and those that are silent after their ClientHello lose theirs in time.
func TestSilentClientsDoNotStopHandshakes(t *testing.T) {
	tlsRigs(t, func(t *testing.T, r rig) {
		p := newProbe(calls{data: echo})
		s, clock := startWithClock(t, r, &server.Server{Handler: p, MaxHandshakes: 2, HandshakeTimeout: limit})
		for range 50 {
			s.dialPlain(t) // sends nothing
		}
		_, nc := p.connect(t, s)
		send(t, nc, "hello")
		expect(t, nc, "hello")

		for range 20 {
			_, err := s.dialPlain(t).Write(clientHello(t))
			testkit.Must(t, err)
		}
		testkit.Until(t, "a good client's turn", func() bool {
			nc := s.tlsClient(t, nil)
			defer nc.Close()
			handshaken := make(chan error, 1)
			go func() { handshaken <- nc.Handshake() }()
			testkit.Until(t, "the handshake's end", func() bool {
				if server.WaitingHandshakes(s.Server) > 0 { // the silent clients have both places
					clock.Advance(limit / 100)
				}
				return len(handshaken) > 0
			})
			return <-handshaken == nil
		})
		testkit.Must(t, s.Close())
		s.drained(t)
	})
}
