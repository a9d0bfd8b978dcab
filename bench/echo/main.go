//go:build linux

// Echo is an echo server that uses package event alone and shows the minimum cost of a loop: one loop, one level-triggered
// event per connection, one read and one write per readiness, directly from and to the socket.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"runtime/pprof"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
)

// readSize is the largest number of bytes of a read. The kernel copies them in a few microseconds, so the calls can be raw system calls,
// without the scheduler.
const readSize = 64 << 10

type server struct {
	loop *event.Loop
	buf  [readSize]byte
}

type conn struct {
	s               *server
	fd              int
	readable, roomy *event.Event
	rest            []byte // read and not written; empty unless the peer reads slowly
}

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "address to listen on")
	backend := flag.String("backend", "", "epoll or poll; the loop's choice if empty")
	driver := flag.String("driver", "", "adaptive, park or thread; the loop's choice if empty")
	profile := flag.String("cpuprofile", "", "file to write a CPU profile to, from the start until SIGINT or SIGTERM")
	flag.Parse()
	stop, err := startProfile(*profile)
	if err != nil {
		log.Fatal(err)
	}
	err = run(*addr, event.Backend(*backend), event.Driver(*driver))
	if err := errors.Join(err, stop()); err != nil {
		log.Fatal(err)
	}
}

func startProfile(name string) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	stop = func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}
	return stop, pprof.StartCPUProfile(f)
}

func run(addr string, backend event.Backend, driver event.Driver) error {
	loop, err := event.NewLoop(&event.Config{Backend: backend, Driver: driver})
	if err != nil {
		return err
	}
	fd, at, err := listen(addr)
	if err != nil {
		return err
	}
	s := &server{loop: loop}
	listener, err := loop.NewEvent(fd, event.Read|event.Persist, s.accept)
	if err != nil {
		return err
	}
	if err := listener.Add(event.NoTimeout); err != nil {
		return err
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		stop, err := loop.NewSignal(sig, func(*event.Event, event.Flags) { _ = loop.Break() })
		if err != nil {
			return err
		}
		if err := stop.Add(event.NoTimeout); err != nil {
			return err
		}
	}
	fmt.Printf("listening on %v with %s, %s\n", at, loop.Backend(), loop.Driver())
	if err := loop.Run(context.Background()); err != nil {
		return err
	}
	return loop.Close()
}

// listen duplicates the descriptor of an ordinary listener, so that the loop has one of its own.
func listen(addr string) (fd int, at net.Addr, err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return -1, nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return -1, nil, err
	}
	if e := raw.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return -1, nil, e
	}
	return fd, l.Addr(), err
}

func (s *server) accept(listener *event.Event, _ event.Flags) {
	fd, _, err := unix.Accept4(listener.FD(), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch err {
	case nil:
	case unix.EAGAIN, unix.EINTR, unix.ECONNABORTED:
		return
	default:
		s.pause(listener, err)
		return
	}
	if err := s.open(fd); err != nil {
		log.Print(err)
		_ = unix.Close(fd)
	}
}

// pause stops accepting for a while when no descriptor is free, since the listener would stay ready.
func (s *server) pause(listener *event.Event, err error) {
	log.Printf("accept: %v", err)
	if err := listener.Del(); err != nil {
		log.Fatal(err)
	}
	_, err = s.loop.AfterFunc(100*time.Millisecond, func() {
		if err := listener.Add(event.NoTimeout); err != nil {
			log.Fatal(err)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
}

func (s *server) open(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("set TCP_NODELAY: %w", err)
	}
	c := &conn{s: s, fd: fd}
	var err error
	if c.readable, err = s.loop.NewEvent(fd, event.Read|event.Persist, c.read); err != nil {
		return err
	}
	return c.readable.Add(event.NoTimeout)
}

func (c *conn) read(*event.Event, event.Flags) {
	buf := &c.s.buf
	n, err := rawRead(c.fd, buf[:])
	switch {
	case n > 0:
		c.write(buf[:n])
	case err != unix.EAGAIN && err != unix.EINTR: // the end of the file too
		c.close()
	}
}

// write writes p. It keeps bytes for which the kernel has no room until there is room, and reads nothing in the meantime.
func (c *conn) write(p []byte) {
	n, err := rawWrite(c.fd, p)
	switch {
	case n == len(p):
		return
	case n < 0 && err != unix.EAGAIN && err != unix.EINTR:
		c.close()
		return
	}
	c.rest = append(c.rest, p[max(n, 0):]...)
	if err := c.waitForRoom(); err != nil {
		log.Print(err)
		c.close()
	}
}

func (c *conn) waitForRoom() (err error) {
	if c.roomy == nil {
		if c.roomy, err = c.s.loop.NewEvent(c.fd, event.Write|event.Persist, c.flush); err != nil {
			return err
		}
	}
	if err := c.roomy.Add(event.NoTimeout); err != nil {
		return err
	}
	return c.readable.Del()
}

func (c *conn) flush(*event.Event, event.Flags) {
	n, err := rawWrite(c.fd, c.rest)
	switch {
	case n >= 0:
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	default:
		c.close()
		return
	}
	if c.rest = c.rest[n:]; len(c.rest) > 0 {
		return
	}
	c.rest = nil
	if err := errors.Join(c.readable.Add(event.NoTimeout), c.roomy.Del()); err != nil {
		log.Print(err)
		c.close()
	}
}

func (c *conn) close() {
	_ = c.readable.Del() // its error may be the reason for the close
	if c.roomy != nil {
		_ = c.roomy.Del()
	}
	_ = unix.Close(c.fd)
}

func rawRead(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

func rawWrite(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}
