package server_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// crypto/tls gathers the records of such a message in memory of its own until the message is complete. The clients' records are complete.
func TestAHandshakeMessageThatIsNotCompleteCounts(t *testing.T) {
	clients, limit := uint64(100), int64(1<<20)
	if testkit.Full() {
		clients, limit = 500, 4<<20
	}
	a := newAttack(t, rig{"tcp", true, 1}, &server.Server{Handler: calls{}, TLS: sessionless(true), MaxBuffered: limit})
	var writers []*recordWriter
	for range clients {
		var keys strings.Builder
		config := clientTLS()
		config.KeyLogWriter = &keys
		nc := a.dialPlain(t)
		client := tls.Client(nc, config)
		testkit.Must(t, client.Handshake())
		a.clients, writers = append(a.clients, nc), append(writers, newRecordWriter(t, client.ConnectionState().CipherSuite, keys.String()))
	}
	testkit.Until(t, "the handshakes", func() bool { return a.Stats().Opened == clients })
	a.before = heap()
	for i, nc := range a.clients {
		part := make([]byte, 15<<10)
		copy(part, []byte{24, 0, 0xff, 0}) // a request for new keys, of 65280 bytes
		for range 4 {
			if _, err := nc.Write(writers[i].record(nil, 22, part)); err != nil {
				break // the server has closed the connection
			}
			clear(part)
		}
	}
	a.awaitIdle(t)
	a.check(t)
	if a.Stats().OpenConns == len(a.clients) {
		t.Error("no connection was closed")
	}
	for _, nc := range a.clients {
		reset(t, nc)
	}
	testkit.Until(t, "the end", func() bool { return a.Stats().OpenConns == 0 })
	a.drained(t)
}

// crypto/tls keeps up to three times the bytes of a ClientHello as long as the connection exists.
func TestALongClientHelloCountsAfterTheHandshake(t *testing.T) {
	clients, limit := uint64(60), int64(1<<20)
	if testkit.Full() {
		clients, limit = 400, 4<<20
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := sessionless(true)
		config.MaxVersion = version
		a := newAttack(t, rig{"tcp", true, 1}, &server.Server{Handler: calls{}, TLS: config, MaxBuffered: limit})
		client := clientTLS()
		for i := range 230 {
			client.NextProtos = append(client.NextProtos, strings.Repeat(string(rune('a'+i%20)), 255))
		}
		for range clients {
			nc := a.dialPlain(t)
			a.clients = append(a.clients, nc)
			_ = tls.Client(nc, client).Handshake() // the server may close the connection
		}
		testkit.Until(t, "the handshakes", func() bool { return a.Stats().Handshakes+a.Stats().FailedHandshakes == clients })
		a.awaitIdle(t)
		a.check(t)
		if a.Stats().OpenConns == len(a.clients) {
			t.Error("no connection was closed")
		}
		for _, nc := range a.clients {
			reset(t, nc)
		}
		testkit.Until(t, "the end", func() bool { return a.Stats().OpenConns == 0 })
		a.drained(t)
	}
}
