package server_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The listeners of the server may use TLS or PROXY headers.
func TestAnAddedConnectionIsPlainUnlessItsConfigSaysOtherwise(t *testing.T) {
	const header = "PROXY TCP4 10.0.0.1 10.0.0.2 1111 80\r\n"
	for _, row := range []struct {
		name       string
		tls, proxy bool // of the server
		options    server.ConnConfig
		header     bool // the peer sends one
		client     bool // the peer uses TLS as the client
		server     bool // the peer uses TLS as the server
	}{
		{name: "plain server"},
		{name: "plain server, accepted", options: server.ConnConfig{Accepted: true}},
		{name: "plain on a TLS server", tls: true},
		{name: "plain on a PROXY server", proxy: true},
		{name: "plain on a server with both", tls: true, proxy: true},
		{name: "accepted on a TLS server", tls: true, options: server.ConnConfig{Accepted: true}, client: true},
		{name: "accepted on a PROXY server", proxy: true, options: server.ConnConfig{Accepted: true}, header: true},
		{name: "accepted on a server with both", tls: true, proxy: true, options: server.ConnConfig{Accepted: true}, header: true, client: true},
		{name: "TLS on a plain server", options: server.ConnConfig{TLS: serverTLS()}, client: true},
		{name: "TLS on a PROXY server", proxy: true, options: server.ConnConfig{TLS: serverTLS()}, client: true},
		{name: "TLS of its own, accepted", proxy: true, options: server.ConnConfig{TLS: serverTLS(), Accepted: true}, header: true, client: true},
		{name: "client of TLS on a plain server", options: server.ConnConfig{TLS: clientTLS(), Client: true}, server: true},
		{name: "client of TLS on a server with both", tls: true, proxy: true, options: server.ConnConfig{TLS: clientTLS(), Client: true}, server: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newProbe(calls{data: echo})
			srv := &server.Server{Handler: h, ProxyProtocol: row.proxy, HandshakeTimeout: testkit.Patience}
			if row.tls {
				srv.TLS = serverTLS()
			}
			s := start(t, rigs()[0], srv)
			ours, theirs := pair(t)
			testkit.Must(t, theirs.SetDeadline(time.Now().Add(testkit.Patience)))
			row.options.Value = "mine"
			c, err := s.AddConn(ours, &row.options)
			testkit.Must(t, err)
			if row.header {
				send(t, theirs, header)
			}
			switch {
			case row.client:
				theirs = tls.Client(theirs, clientTLS())
			case row.server:
				theirs = tls.Server(theirs, serverTLS())
			}
			send(t, theirs, "hello")
			expect(t, theirs, "hello")
			if got := testkit.Await(t, h.opened, "Open"); got != c || c.Value() != "mine" {
				t.Errorf("Open has %p with %v, want %p", got, c.Value(), c)
			}
			if _, ok := c.TLS(); ok != (row.client || row.server) {
				t.Errorf("it speaks TLS: %v", ok)
			}
			if got := c.RemoteAddr().String() == "10.0.0.1:1111"; got != row.header {
				t.Errorf("the peer is %v", c.RemoteAddr())
			}
		})
	}
}

// After the error the connection still belongs to the caller.
func TestAContradictoryConnConfigIsRefused(t *testing.T) {
	p := newProbe(calls{})
	other := start(t, rigs()[0], &server.Server{Handler: p})
	near, _ := p.connect(t, other)
	s := start(t, rig{"tcp", false, 3}, &server.Server{Handler: calls{data: echo}})
	freely := clientTLS()
	freely.Renegotiation = tls.RenegotiateFreelyAsClient
	ours, theirs := pair(t)
	for name, o := range map[string]server.ConnConfig{
		"Near of another server":   {Near: near},
		"Client without TLS":       {Client: true},
		"Client and Accepted":      {Client: true, Accepted: true, TLS: clientTLS()},
		"TLS without certificate":  {TLS: &tls.Config{}},
		"Client that renegotiates": {Client: true, TLS: freely},
	} {
		_, err := s.AddConn(ours, &o)
		testkit.CheckErr(t, name, err, server.ErrInvalid)
	}
	_, err := s.AddConn(nil, nil)
	testkit.CheckErr(t, "nil", err, server.ErrInvalid)
	_, err = s.AddConn(nil, nil)
	testkit.CheckErr(t, "nil", err, server.ErrInvalid)
	send(t, ours, "still mine")
	expect(t, theirs, "still mine")
	first, err := s.AddConn(ours, nil)
	testkit.Must(t, err)
	for range 4 {
		ours, _ := pair(t)
		c, err := s.AddConn(ours, &server.ConnConfig{Near: first})
		testkit.Must(t, err)
		if c.Loop() != first.Loop() {
			t.Error("the connection is not on the loop of Near")
		}
	}
}

// The handler's Close is called, as for a dialled connection.
func TestAnAddedClientWhoseHandshakeFailsIsClosed(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: calls{}, OnReject: func(_ *server.Conn, reason error) { t.Errorf("OnReject: %v", reason) }})
	ours, theirs := pair(t)
	h := newCaller()
	_, err := s.AddConn(ours, &server.ConnConfig{Handler: h, TLS: clientTLS(), Client: true})
	testkit.Must(t, err)
	send(t, theirs, "220 this is no TLS\r\n")
	h.failed(t, server.ErrHandshake)
}

// The error names the field to set.
func TestATLSConnectionIsNotAdded(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{Handler: calls{}})
	ours, _ := pair(t)
	defer ours.Close()
	var nc net.Conn = tls.Client(ours, clientTLS())
	_, err := s.AddConn(nc, nil)
	testkit.CheckErr(t, "AddConn", err, server.ErrUnsupported)
}
