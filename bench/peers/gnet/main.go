// Gnet is an echo server on github.com/panjf2000/gnet. With -mode pool, requests are handled by the pool of goroutines that the library brings along,
// and are answered by AsyncWrite.
package main

import (
	"errors"
	"log"
	"net"
	"os"

	"github.com/panjf2000/gnet/v2"

	"github.com/evmq/evmq/bench/internal/peer"
)

func main() {
	o := peer.Parse(peer.Placement)
	s := &server{o: &o}
	// The other options, LockOSThread and TCPNoDelay among them, have the defaults of the library.
	if err := gnet.Run(s, "tcp://"+o.Addr, gnet.WithNumEventLoop(o.Loops), gnet.WithLogger(logger{})); err != nil {
		log.Fatal(err)
	}
}

type server struct {
	gnet.BuiltinEventEngine
	o *peer.Options
}

func (s *server) OnBoot(engine gnet.Engine) gnet.Action {
	addr, err := address(engine)
	if err != nil {
		log.Print(err)
		return gnet.Shutdown
	}
	peer.Listening(addr)
	return gnet.None
}

// address returns the address of the engine's listener.
func address(engine gnet.Engine) (net.Addr, error) {
	fd, err := engine.Dup()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "listener")
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return ln.Addr(), errors.Join(ln.Close(), file.Close())
}

func (s *server) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if s.o.Pool {
		c.SetContext(newQueue(s.o, c))
	}
	return nil, gnet.None
}

func (s *server) OnTraffic(c gnet.Conn) gnet.Action {
	switch {
	case s.o.Pool:
		return s.give(c)
	case s.o.Line:
		return s.lines(c)
	}
	data, err := c.Next(-1)
	if err == nil {
		_, err = c.Write(data)
	}
	return action(err)
}

// lines answers the complete lines. The library keeps the rest.
func (s *server) lines(c gnet.Conn) gnet.Action {
	data, err := c.Peek(-1)
	if err != nil {
		return action(err)
	}
	done := 0
	for done < len(data) {
		n := s.o.Serve(data[done:])
		if n == 0 {
			break
		}
		if _, err := c.Write(data[done : done+n]); err != nil {
			return action(err)
		}
		done += n
	}
	if done > 0 {
		_, err = c.Discard(done)
	}
	return action(err)
}

// give queues the complete requests for the pool.
func (s *server) give(c gnet.Conn) gnet.Action {
	data, err := c.Peek(-1)
	if err != nil {
		return action(err)
	}
	n := s.o.Complete(data)
	if n == 0 {
		return gnet.None
	}
	if err := c.Context().(*queue).add(data[:n]); err != nil {
		log.Print(err)
		return gnet.Close
	}
	_, err = c.Discard(n)
	return action(err)
}

// action closes a connection after an error, which is one of a connection that is gone.
func action(err error) gnet.Action {
	if err != nil {
		return gnet.Close
	}
	return gnet.None
}
