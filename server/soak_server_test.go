package server_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/server"
)

// A link is the common state of both ends of a connection.
type link struct {
	id         uint32
	name       string // the kind of client, for messages
	concurrent bool
	abrupt     bool                        // the client does not check that it receives all, and callbacks may end their goroutines
	conn       atomic.Pointer[server.Conn] // set by its first request
	next       atomic.Uint32               // the number of the next request; with concurrent the number of requests so far
	working    atomic.Int32                // calls of its handler that run
	dropped    atomic.Int64                // writes whose outcome was an error

	mu     sync.Mutex              // held over a push and its count
	pushed [soakPushers + 1]uint32 // by each pusher, and by the handler itself
	casts  uint32                  // broadcasts

	closed chan struct{}
	reason error // of Close
}

func (l *link) String() string { return fmt.Sprintf("link %d (%s)", l.id, l.name) }

func (l *link) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

func (s *soak) open(c *server.Conn) {
	s.opened.Add(1)
	if _, twice := s.isOpen.LoadOrStore(c, nil); twice {
		s.fail("Open of %v for the second time", c.ID())
	}
}

func (s *soak) close(c *server.Conn, reason error) {
	if _, ok := s.isOpen.LoadAndDelete(c); ok {
		s.closed.Add(1)
	} else if !s.stopping.Load() && !isGone(reason) { // otherwise its dial may have failed, or it was reset at once
		s.fail("Close without Open: %v", reason)
	}
	l, ok := c.Value().(*link)
	if !ok {
		return
	}
	if l.isClosed() {
		s.fail("Close of %v for the second time: %v, %v", l, l.reason, reason)
		return
	}
	if n := l.working.Load(); n != 0 {
		s.fail("Close of %v while %d calls of its handler run", l, n)
	}
	s.liveMu.Lock()
	if i := slices.Index(s.live, l); i >= 0 {
		s.live = slices.Delete(s.live, i, i+1)
	}
	s.liveMu.Unlock()
	s.links.Delete(l.id)
	l.reason = reason
	close(l.closed)
	l.mayExit()
}

// mayExit ends the goroutine of a callback sometimes.
func (l *link) mayExit() {
	if l.abrupt && rand.IntN(8) == 0 {
		runtime.Goexit()
	}
}

// request parses the message that a handler was given. begin and end are called before and after each request.
func (s *soak) request(c *server.Conn, message []byte) (*link, frame, error) {
	f, err := parseFrame(message)
	if err != nil {
		return nil, f, err
	}
	v, _ := s.links.Load(f.link)
	l, _ := v.(*link)
	if f.tag != tagRequest || l == nil {
		return nil, f, fmt.Errorf("%v came as a request", f)
	}
	if l.conn.CompareAndSwap(nil, c) {
		c.SetValue(l)
		s.liveMu.Lock()
		s.live = append(s.live, l)
		s.liveMu.Unlock()
	}
	if l.conn.Load() != c {
		return nil, f, fmt.Errorf("%v of %v came on connection %v, not %v", f, l, c.ID(), l.conn.Load().ID())
	}
	return l, f, nil
}

// begin returns an error if the handler must not be called now with f.
func (l *link) begin(f frame, concurrent int) error {
	if n := l.working.Add(1); int(n) > concurrent {
		return fmt.Errorf("%d handlers run at once for %v", n, l)
	}
	if n := l.next.Add(1) - 1; concurrent == 1 && f.seq != n {
		return fmt.Errorf("%v came, not number %d", f, n)
	}
	return nil
}

// serve answers a request on a worker.
func (s *soak) serve(w server.Reply, message []byte, concurrent int) {
	c := w.Conn()
	l, req, err := s.request(c, message)
	if err == nil {
		err = l.begin(req, concurrent)
	}
	if err != nil {
		s.fail("on a worker: %v", err)
		return
	}
	defer l.working.Add(-1)
	rng := rand.New(rand.NewPCG(uint64(req.sum), uint64(req.seq)))
	write := func(p []byte) {
		if _, err := w.Write(p); err != nil && !errors.Is(err, server.ErrClosed) {
			s.fail("%v: Reply.Write: %v", l, err)
		}
	}
	s.act(c, l, req)
	answer := s.answerTo(req, tagAnswer)
	switch req.kind {
	case kindSleep:
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Microsecond)
	case kindSwitch:
		if concurrent == 1 {
			s.must(l, "SetHandler", c.SetHandler(s.onLoop))
		}
	case kindParts:
		part := s.answerTo(req, tagPart)
		write(part.append(nil))
		if err := w.Flush(); err != nil && !errors.Is(err, server.ErrClosed) {
			s.fail("%v: Flush: %v", l, err)
		}
	case kindPieces:
		for p := answer.append(nil); len(p) > 0; {
			n := min(len(p), 1+rng.IntN(20<<10))
			write(p[:n])
			s.pushFrom(l, soakPushers, rng)
			p = p[n:]
		}
		return
	}
	write(answer.append(nil))
}

// act carries out the action of a request besides the answer, on a worker or on the loop. On the loop, all writes before Close arrive; on a
// worker, the reply of the request arrives.
func (s *soak) act(c *server.Conn, l *link, req frame) {
	switch req.kind {
	case kindPush:
		s.pushFrom(l, soakPushers, rand.New(rand.NewPCG(uint64(req.sum), 1)))
	case kindPause:
		c.PauseRead(nil)
		go c.ResumeRead(nil)
	case kindBye:
		c.Close()
	case kindHalf:
		if err := c.CloseWrite(); err != nil && !errors.Is(err, server.ErrClosed) {
			s.fail("%v: CloseWrite: %v", l, err)
		}
	case kindAbort:
		c.Abort()
	case kindExit:
		runtime.Goexit()
	}
}

// must fails the test if err is neither nil nor the error of a closed connection.
func (s *soak) must(l *link, what string, err error) {
	if err != nil && !errors.Is(err, server.ErrClosed) {
		s.fail("%v: %s: %v", l, what, err)
	}
}

// soakHandler answers on the loop.
type soakHandler struct{ s *soak }

func (h *soakHandler) Open(c *server.Conn)                { h.s.open(c) }
func (h *soakHandler) Close(c *server.Conn, reason error) { h.s.close(c, reason) }

// Data answers one request.
func (h *soakHandler) Data(c *server.Conn, p []byte) (int, error) {
	s := h.s
	if len(p) < 4 {
		return 0, nil
	}
	n := 4 + int(binary.BigEndian.Uint32(p))
	if n > 4+frameMax {
		s.fail("a length of %d bytes came to the loop", n)
	}
	if len(p) < n {
		return 0, nil
	}
	l, req, err := s.request(c, p[4:n])
	if err != nil {
		s.fail("on the loop: %v", err)
		return len(p), nil
	}
	switch err := h.answer(c, l, req); {
	case errors.Is(err, server.ErrFull): // it is given again when there is room
		c.PauseRead(nil)
		if _, err := c.Loop().AfterFunc(time.Millisecond, func() { c.ResumeRead(nil) }); err != nil && !s.stopping.Load() {
			s.fail("%v: AfterFunc: %v", l, err)
		}
		return 0, nil
	case err != nil && !errors.Is(err, server.ErrClosed):
		s.fail("%v: write on the loop: %v", l, err)
	}
	if err := l.begin(req, 1); err != nil {
		s.fail("on the loop: %v", err)
	}
	defer l.working.Add(-1)
	s.act(c, l, req)
	if req.kind == kindSwitch {
		s.must(l, "SetHandler", c.SetHandler(s.onWorkers))
	}
	return n, nil
}

// answer writes the answer, in one of the ways to write.
func (h *soakHandler) answer(c *server.Conn, l *link, req frame) error {
	s := h.s
	answer := s.answerTo(req, tagAnswer)
	p := answer.append(nil)
	if req.kind == kindParts {
		part := s.answerTo(req, tagPart)
		p = append(part.append(nil), p...)
	}
	return s.write(c, l, p, int(req.sum>>8), req)
}

// write writes p in one of the ways to write, and waits for the outcome if there is one.
func (s *soak) write(c *server.Conn, l *link, p []byte, way int, f frame) (err error) {
	switch way % soakWays {
	case 0:
		_, err = c.Write(p)
	case 1:
		_, err = c.WriteString(string(p))
	case 2:
		at := len(p) / 3
		_, err = c.Writev([][]byte{p[:at], p[at:]})
	case 3:
		o := s.await(c, l, f)
		err = c.WriteNotify(p, o.done)
		o.accepted(err)
	case 4, 5:
		var file *os.File
		if file, err = s.fileOf(p, way%soakWays == 5); err != nil {
			s.fail("make a file: %v", err)
			return err
		}
		o := s.await(c, l, f)
		err = c.SendFile(file, 0, int64(len(p)), func(err error) {
			_ = file.Close() // it was only read
			o.done(err)
		})
		if err != nil {
			_ = file.Close()
		}
		o.accepted(err)
	default:
		o := s.await(c, l, f)
		copied := bytes.Clone(p)
		err = c.WriteOwned(p, func(err error) {
			if !bytes.Equal(p, copied) {
				s.fail("%s was changed before its release", o.what)
			}
			for i := range p { // it belongs to the caller again, and must not be sent any more
				p[i] = 0xdd
			}
			o.done(err)
		})
		o.accepted(err)
	}
	return err
}

// soakWays is the number of ways to write.
const soakWays = 7

// fileOf makes a file that holds p and has no name: a pipe if p fits into one and piped is set.
func (s *soak) fileOf(p []byte, piped bool) (*os.File, error) {
	if piped && len(p) <= 32<<10 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		_, err = w.Write(p)
		return r, errors.Join(err, w.Close())
	}
	f, err := os.CreateTemp(s.dir, "")
	if err != nil {
		return nil, err
	}
	_, err = f.Write(p)
	return f, errors.Join(err, os.Remove(f.Name()))
}

// An outcome is the outcome of a write that reports one.
type outcome struct {
	s     *soak
	c     *server.Conn
	l     *link
	what  string
	state atomic.Int32 // 0, or how it ended
}

const (
	outcomeTold = iota + 1
	outcomeRefused
)

func (s *soak) await(c *server.Conn, l *link, f frame) *outcome {
	o := &outcome{s: s, c: c, l: l, what: fmt.Sprintf("the outcome of %v to %v", f, l)}
	s.outcomes.Store(o, nil)
	return o
}

func (o *outcome) done(err error) {
	if !o.state.CompareAndSwap(0, outcomeTold) {
		o.s.fail("%s was reported for the second time, or of a write that was refused: state %d, now %v", o.what, o.state.Load(), err)
	}
	if !o.s.stopping.Load() && !o.c.Loop().OnLoop() {
		o.s.fail("%s was reported elsewhere than on the loop", o.what)
	}
	if err != nil {
		o.l.dropped.Add(1)
	}
	o.s.outcomes.Delete(o)
	o.l.mayExit()
}

// accepted ends the waiting if the write was refused.
func (o *outcome) accepted(err error) {
	if err == nil {
		return
	}
	if !o.state.CompareAndSwap(0, outcomeRefused) {
		o.s.fail("%s was reported although it was refused: %v", o.what, err)
	}
	o.s.outcomes.Delete(o)
}
