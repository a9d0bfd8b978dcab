package server_test

import (
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// exitingConn is a connection whose Close closes it and calls runtime.Goexit.
type exitingConn struct{ net.Conn }

func (c exitingConn) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}

func (c exitingConn) Close() error {
	_ = c.Conn.Close()
	runtime.Goexit()
	return nil
}

// The connection was accepted before. Otherwise its descriptor and its place among MaxConns would be lost, and a shutdown would wait for it.
func TestAnAddedConnectionWhoseCloseEndsItsGoroutineIsServed(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: echo}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	testkit.Must(t, err)
	defer client.Close()
	nc, err := ln.Accept()
	testkit.Must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.AddConn(exitingConn{nc}, nil)
		t.Error("AddConn has returned")
	}()
	testkit.Await(t, done, "the end of the goroutine")
	send(t, client, "hello")
	expect(t, client, "hello")
	testkit.Must(t, client.Close())
	s.shutdown(t)
}

// exitingListener has no descriptor, and its Accept calls runtime.Goexit.
type exitingListener struct{ net.Listener }

func (exitingListener) Accept() (net.Conn, error) {
	runtime.Goexit()
	return nil, nil
}

// Serve returns an error instead of waiting for a goroutine that has ended.
func TestAListenerWhoseAcceptEndsItsGoroutineEnds(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: echo}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	served := make(chan error, 1)
	go func() { served <- s.Serve(exitingListener{ln}) }()
	if err := testkit.Await(t, served, "the end of Serve"); err == nil {
		t.Error("Serve has returned nil")
	}
}
