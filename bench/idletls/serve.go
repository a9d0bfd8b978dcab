//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/bench/internal/child"
	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/internal/tlsio/tlstest"
	"github.com/evmq/evmq/server"
)

// A host is a server that runs.
type host struct {
	addr  net.Addr
	done  func() int // the connections whose exchange has ended
	close func() error
}

// serve runs a server until the program that has started it closes its input. It answers a number of connections with the memory when so
// many are idle.
func serve(kind string, bytes int, profile string) error {
	if profile != "" {
		runtime.MemProfileRate = 1
	}
	config, err := tlstest.Config()
	if err != nil {
		return err
	}
	hosts := map[string]func(*tls.Config, tlstest.Exchange) (*host, error){
		"alone": serveAlone, "http-alone": serveAlone, "loop": serveServer(server.HandlerFunc(echo)), "workers": serveServer(onWorkers()),
		"net": serveNet, "httpd": serveHTTPD, "net/http": serveNetHTTP,
	}
	start, known := hosts[kind]
	if !known {
		return fmt.Errorf("there is no server %q", kind)
	}
	h, err := start(config, exchange(kind, plan{bytes: bytes}))
	if err != nil {
		return err
	}
	err = child.ServeAnswers(func(question string) string {
		if question == "profile" {
			return fmt.Sprint(writeProfile(profile))
		}
		return answer(h, question)
	}, h.addr.String())
	return errors.Join(err, h.close())
}

// answer returns the heap and the stacks when the question's number of connections are idle.
func answer(h *host, question string) string {
	n, err := strconv.Atoi(question)
	if err != nil {
		return err.Error()
	}
	for deadline := time.Now().Add(10 * time.Second); h.done() < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Sprintf("%d of %d connections are idle", h.done(), n)
		}
	}
	time.Sleep(100 * time.Millisecond) // the goroutines of handshakes end
	heap := tlstest.Heap()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprint(heap, m.StackInuse)
}

// writeProfile writes a heap profile.
func writeProfile(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}

// listen listens on a free port.
func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// serveAlone holds each connection as a tls.Conn on a descriptor, without a goroutine when its exchange has ended.
func serveAlone(config *tls.Config, e tlstest.Exchange) (*host, error) {
	ln, err := listen()
	if err != nil {
		return nil, err
	}
	var done atomic.Int64
	held := make([]*tls.Conn, 0, 1<<14)
	go acceptEach(ln, func(nc net.Conn) error {
		fd, err := descriptor(nc)
		if err != nil {
			return err
		}
		c := tls.Server(tlstest.NewConn(fd), config)
		held = append(held, c)
		go func() {
			if err := e.Server(c); err != nil {
				fmt.Fprintln(os.Stderr, "alone:", err)
			}
			done.Add(1)
		}()
		return nil
	})
	return &host{ln.Addr(), func() int { return int(done.Load()) }, ln.Close}, nil
}

// descriptor returns a duplicate of nc's descriptor, which blocks, and closes nc.
func descriptor(nc net.Conn) (fd int, err error) {
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		return -1, err
	}
	var dupErr error
	err = raw.Control(func(of uintptr) {
		if fd, dupErr = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0); dupErr == nil {
			dupErr = unix.SetNonblock(fd, false)
		}
	})
	return fd, errors.Join(err, dupErr, nc.Close())
}

// acceptEach calls fn for each connection until ln is closed.
func acceptEach(ln net.Listener, fn func(net.Conn) error) {
	for {
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			err = fn(nc)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "accept:", err)
		}
	}
}

func echo(c *server.Conn, p []byte) (int, error) { return c.Write(p) }

// onWorkers returns a handler whose requests run on workers. A request is all bytes that have arrived.
func onWorkers() *server.Dispatcher {
	d := server.Dispatch(func(data []byte, _ bool) (int, []byte, error) { return len(data), data, nil }, func(w server.Reply, p []byte) {
		_, _ = w.Write(p) // fails only when the client is gone
	})
	d.Placement = server.OnWorkers
	return d
}

// serveServer is package server with a handler.
func serveServer(h server.Handler) func(*tls.Config, tlstest.Exchange) (*host, error) {
	return func(config *tls.Config, _ tlstest.Exchange) (*host, error) {
		s := &server.Server{TLS: config, Handler: h}
		ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
		if err != nil {
			return nil, err
		}
		return &host{ln.Addr(), func() int { return int(s.Stats().Opened) }, s.Close}, nil
	}
}

// serveNet has a goroutine for each connection.
func serveNet(config *tls.Config, _ tlstest.Exchange) (*host, error) {
	ln, err := listen()
	if err != nil {
		return nil, err
	}
	var done atomic.Int64
	go acceptEach(tls.NewListener(ln, config), func(nc net.Conn) error {
		go func() {
			defer func() { _ = nc.Close() }()
			if err := nc.(*tls.Conn).Handshake(); err != nil {
				fmt.Fprintln(os.Stderr, "net:", err)
				return
			}
			done.Add(1)
			buf := make([]byte, 4<<10)
			for {
				n, err := nc.Read(buf)
				if err != nil {
					return
				}
				if _, err := nc.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		return nil
	})
	return &host{ln.Addr(), func() int { return int(done.Load()) }, ln.Close}, nil
}

// hello answers each request.
func hello(done *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello\n") // fails only when the client is gone
		done.Add(1)
	})
}

func serveHTTPD(config *tls.Config, _ tlstest.Exchange) (*host, error) {
	var done atomic.Int64
	s := &httpd.Server{Handler: hello(&done), TLSConfig: config}
	return serveHTTP(&done, s.ServeTLS, s.Close)
}

func serveNetHTTP(config *tls.Config, _ tlstest.Exchange) (*host, error) {
	var done atomic.Int64
	s := &http.Server{Handler: hello(&done), TLSConfig: config}
	return serveHTTP(&done, s.ServeTLS, s.Close)
}

// serveHTTP runs an HTTP server.
func serveHTTP(done *atomic.Int64, serve func(net.Listener, string, string) error, stop func() error) (*host, error) {
	ln, err := listen()
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(ln, "", "") }()
	return &host{ln.Addr(), func() int { return int(done.Load()) }, func() error {
		err := stop()
		if e := <-ended; !strings.Contains(e.Error(), "closed") {
			err = errors.Join(err, e)
		}
		return err
	}}, nil
}
