//go:build linux

package main

import (
	"errors"
	"net"
	"strings"
	"sync"

	"github.com/evmq/evmq/internal/tlsio/tlstest"
)

// helloLength is the length of the answer of httpd and net/http to request.
const helloLength = 122

const request = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"

// exchange returns what a client of the server does on each connection.
func exchange(kind string, p plan) tlstest.Exchange {
	if strings.Contains(kind, "http") {
		return tlstest.Exchange{Version: p.version, Request: []byte(request), Reply: helloLength}
	}
	return tlstest.Echo(p.version, p.bytes)
}

// clients is the number of handshakes that run at the same time.
const clients = 8

// A holder holds connections to a server.
type holder struct {
	addr     string
	exchange tlstest.Exchange
	mu       sync.Mutex // guards conns
	conns    []*tlstest.Conn
}

// hold makes connections until there are n.
func (h *holder) hold(n int) error {
	addr, err := net.ResolveTCPAddr("tcp", h.addr)
	if err != nil {
		return err
	}
	todo := make(chan struct{}, n)
	for range n - len(h.conns) {
		todo <- struct{}{}
	}
	close(todo)
	failures := make(chan error, clients)
	for range clients {
		go func() { failures <- h.holdEach(addr, todo) }()
	}
	for range clients {
		err = errors.Join(err, <-failures)
	}
	return err
}

// holdEach makes a connection for each element of todo.
func (h *holder) holdEach(addr net.Addr, todo <-chan struct{}) error {
	for range todo {
		c, err := tlstest.Dial(addr)
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.conns = append(h.conns, c)
		h.mu.Unlock()
		if err := h.exchange.Client(c); err != nil {
			return err
		}
	}
	return nil
}

// close closes the connections.
func (h *holder) close() (err error) {
	for _, c := range h.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}
