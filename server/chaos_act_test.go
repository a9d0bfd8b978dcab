package server_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/server"
)

// act calls a random method of c, or none.
func (k *chaos) act(c *server.Conn, where string) {
	r := k.r()
	if r.IntN(3) > 0 {
		return
	}
	switch r.IntN(24) {
	case 0, 1, 2, 13:
		k.actEnd(r, c)
	case 3:
		done, accepted := k.outcome()
		accepted(c.Detach(func(nc net.Conn, rest []byte, err error) {
			done(err)
			if nc != nil {
				nc.Close()
			}
			k.mayExit()
		}))
	case 4, 5:
		c.PauseRead(nil)
		if r.IntN(2) == 0 {
			k.away.Go(func() { c.ResumeRead(nil) })
		} else {
			time.AfterFunc(time.Duration(r.IntN(20))*time.Millisecond, func() { c.ResumeRead(nil) })
		}
	case 6, 7, 8:
		c.SetHandler(k.handlers[r.IntN(len(k.handlers))])
	case 9:
		k.actBroadcast(r)
	case 10, 11:
		done, accepted := k.outcome()
		accepted(c.WriteOwned(make([]byte, r.IntN(100<<10)), func(err error) { done(err); k.mayExit() }))
	case 12:
		done, accepted := k.outcome()
		accepted(c.WriteNotify(make([]byte, r.IntN(10<<10)), func(err error) { done(err); k.mayExit() }))
	case 14:
		c.SetTimeouts(server.Timeouts{Idle: time.Duration(r.IntN(100)) * time.Millisecond, Write: time.Duration(r.IntN(100)) * time.Millisecond, Close: time.Duration(r.IntN(100)) * time.Millisecond})
	case 15:
		k.sendFile(r, c)
	case 16:
		c.LocalAddr()
		c.RemoteAddr()
		c.Stats()
		c.TLS()
		_ = c.Context().Err()
	case 17:
		if where != "other" || r.IntN(10) == 0 {
			k.dial(r, c)
		}
	case 18, 19, 20, 21:
		k.actForbidden(r, c, where)
	}
}

// actEnd ends the connection or a half of it.
func (k *chaos) actEnd(r *rand.Rand, c *server.Conn) {
	switch r.IntN(4) {
	case 0:
		c.CloseWrite()
	case 1:
		c.Close()
	case 2:
		if r.IntN(3) == 0 {
			c.Abort()
		}
	case 3:
		if r.IntN(4) == 0 {
			c.CloseRead()
		}
	}
}

// actBroadcast writes to up to ten connections at once.
func (k *chaos) actBroadcast(r *rand.Rand) {
	var cs []*server.Conn
	for o := range k.srv.Conns() {
		if len(cs) < 10 {
			cs = append(cs, o)
		}
	}
	k.pending.Add(int64(len(cs)))
	refused := server.Broadcast(cs, make([]byte, r.IntN(5000)), func(*server.Conn, error) { k.pending.Add(-1); k.mayExit() })
	k.pending.Add(-int64(len(refused)))
}

// actForbidden makes calls that a handler must not make.
func (k *chaos) actForbidden(r *rand.Rand, c *server.Conn, where string) {
	switch r.IntN(4) {
	case 0:
		if r.IntN(10) == 0 && where != "close" && where != "other" {
			panic("chaos")
		}
	case 1:
		if r.IntN(10) == 0 && where != "other" {
			runtime.Goexit()
		}
	case 2:
		c.Loop().Break() // refused, like the others here
		c.Loop().Exit(0)
		c.Loop().Close()
	case 3:
		if r.IntN(10) == 0 {
			c.Loop().Post(runtime.Goexit)
		}
	}
}

// mayExit ends the goroutine of a callback now and then.
func (k *chaos) mayExit() {
	if k.r().IntN(40) == 0 {
		runtime.Goexit()
	}
}

// onGoroutine calls fn on a goroutine of its own, which a callback may end, and waits for that.
func onGoroutine(fn func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fn()
	}()
	<-ended
}

// sendFile sends a part of a regular file, or a file that the kernel does not send: one of /proc, or a pipe.
func (k *chaos) sendFile(r *rand.Rand, c *server.Conn) {
	name := [...]string{"/proc/self/exe", "/proc/self/exe", "/proc/self/status", ""}[r.IntN(4)]
	n := int64(r.IntN(200 << 10))
	var f *os.File
	var err error
	if name == "" {
		var w *os.File
		if f, w, err = os.Pipe(); err == nil {
			k.away.Go(func() {
				w.Write(make([]byte, r.IntN(60<<10)))
				w.Close()
			})
		}
	} else {
		f, err = os.Open(name)
	}
	if err != nil {
		return
	}
	done, accepted := k.outcome()
	err = c.SendFile(f, 0, n, func(err error) { f.Close(); done(err); k.mayExit() })
	accepted(err)
	if err != nil {
		f.Close()
	}
}

// fillPosts keeps the posts of the server's loops at their limit until stop is called.
func (k *chaos) fillPosts() (stop func()) {
	end := make(chan struct{})
	var posters sync.WaitGroup
	seen := map[*event.Loop]bool{}
	for c := range k.srv.Conns() {
		l := c.Loop()
		if seen[l] {
			continue
		}
		seen[l] = true
		posters.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if err := l.Post(func() {}); errors.Is(err, event.ErrFull) {
					time.Sleep(10 * time.Microsecond)
				} else if err != nil {
					return
				}
			}
		})
	}
	return func() {
		close(end)
		posters.Wait()
	}
}
