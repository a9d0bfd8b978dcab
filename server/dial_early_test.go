package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The net.Conn is connected, and Open was called.
func TestADetachDuringADialWaitsForIt(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost"} {
		c, err := s.Dial(context.Background(), "tcp", net.JoinHostPort(host, port), nil)
		testkit.Must(t, err)
		got := make(chan error, 1)
		testkit.Must(t, c.Detach(func(nc net.Conn, rest []byte, err error) {
			if nc != nil {
				_, err = nc.Write([]byte("x"))
				nc.Close()
			}
			got <- err
		}))
		testkit.Must(t, testkit.Await(t, got, "detach"))
		testkit.Await(t, p.closed, "Close")
		if len(p.opened) != 1 {
			t.Errorf("%s: Open called %d times", host, len(p.opened))
		} else {
			<-p.opened
		}
	}
}

// The output is above the high-water mark.
func TestMuchOutputBeforeAHandshakeDoesNotStopIt(t *testing.T) {
	got := make(chan int, 1)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", serverTLS())
	testkit.Must(t, err)
	defer ln.Close()
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		b, _ := io.ReadAll(nc)
		got <- len(b)
		nc.Close()
	}()
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	c, err := s.Dial(context.Background(), "tcp", ln.Addr().String(), &server.DialConfig{TLS: clientTLS()})
	testkit.Must(t, err)
	_, err = c.Write(noise(300 << 10))
	testkit.Must(t, err)
	select {
	case <-p.opened:
	case err := <-p.closed:
		t.Fatal("closed without Open: ", err)
	}
	c.Close()
	if n := testkit.Await(t, got, "all"); n != 300<<10 {
		t.Errorf("%d bytes", n)
	}
	if err := testkit.Await(t, p.closed, "Close"); err != nil {
		t.Error(err)
	}
}

// Only calls of the handler are paused.
func TestAPauseDuringAHandshakeDoesNotStopIt(t *testing.T) {
	ln, err := tls.Listen("tcp", "127.0.0.1:0", serverTLS())
	testkit.Must(t, err)
	defer ln.Close()
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		io.Copy(io.Discard, nc)
		nc.Close()
	}()
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	c, err := s.Dial(context.Background(), "tcp", ln.Addr().String(), &server.DialConfig{TLS: clientTLS()})
	testkit.Must(t, err)
	c.PauseRead(nil)
	select {
	case <-p.opened:
	case err := <-p.closed:
		t.Fatal("closed without Open: ", err)
	}
}

// The rule holds in every state of the dial.
func TestACloseWriteDuringADialWaitsForIt(t *testing.T) {
	for _, kind := range []string{"literal", "name", "tls"} {
		t.Run(kind, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			testkit.Must(t, err)
			defer ln.Close()
			if kind == "tls" {
				ln = tls.NewListener(ln, serverTLS())
			}
			go func() {
				for {
					nc, err := ln.Accept()
					if err != nil {
						return
					}
					io.Copy(io.Discard, nc)
					nc.Write([]byte("bye"))
					nc.Close()
				}
			}()
			p := newProbe(calls{})
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
			o := server.DialConfig{}
			if kind == "tls" {
				o.TLS = clientTLS()
			}
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			host := "127.0.0.1"
			if kind == "name" {
				host = "localhost"
			}
			c, err := s.Dial(context.Background(), "tcp", net.JoinHostPort(host, port), &o)
			testkit.Must(t, err)
			testkit.Must(t, c.CloseWrite())
			if err := testkit.Await(t, p.closed, "Close"); err != nil && err != io.EOF {
				t.Error(err)
			}
			select {
			case <-p.opened:
			default:
				t.Error("closed without Open")
			}
		})
	}
}

// Any goroutine may call LocalAddr.
func TestLocalAddrMayBeCalledDuringADial(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	for range 20 {
		c, err := s.Dial(context.Background(), "tcp", ln.Addr().String(), nil)
		testkit.Must(t, err)
		for len(p.opened) == 0 {
			_ = c.LocalAddr()
			_ = c.ID()
		}
		<-p.opened
		c.Abort()
	}
}

// Close is called with nil only when all is flushed.
func TestWritesBeforeACloseDuringADialAreSent(t *testing.T) {
	for _, kind := range []string{"literal", "name", "tls"} {
		t.Run(kind, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			testkit.Must(t, err)
			defer ln.Close()
			if kind == "tls" {
				ln = tls.NewListener(ln, serverTLS())
			}
			got := make(chan string, 1)
			go func() {
				nc, err := ln.Accept()
				if err == nil {
					b, _ := io.ReadAll(nc)
					nc.Close()
					got <- string(b)
				}
			}()
			p := newProbe(calls{})
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
			o := server.DialConfig{}
			if kind == "tls" {
				o.TLS = clientTLS()
			}
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			host := map[bool]string{true: "localhost", false: "127.0.0.1"}[kind == "name"]
			c, err := s.Dial(context.Background(), "tcp", net.JoinHostPort(host, port), &o)
			testkit.Must(t, err)
			reported := make(chan error, 1)
			testkit.Must(t, c.WriteNotify([]byte("message"), func(err error) { reported <- err }))
			c.Close()
			reason := testkit.Await(t, p.closed, "Close")
			if err := <-reported; reason == nil && err != nil {
				t.Errorf("closed with nil, although a write has failed: %v", err)
			}
			select {
			case b := <-got:
				if b != "message" {
					t.Errorf("the peer has %q", b)
				}
			case <-time.After(testkit.Patience):
				t.Error("the peer has nothing")
			}
		})
	}
}
