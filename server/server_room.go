package server

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// roomWaiters has the connections that have refused a write because the whole server held MaxBuffered. Their LowWater is called when it
// holds less.
type roomWaiters struct {
	n     atomic.Int32 // the length of conns, for reads without the lock
	mu    sync.Mutex   // guards conns. Locked after a connection's
	conns map[*Conn]struct{}
}

// addBuffered adds n, which may be negative, to the bytes that the server holds.
func (s *Server) addBuffered(n int) {
	if n != 0 {
		s.buffered.Add(int64(n))
	}
	if n < 0 && s.room.n.Load() > 0 && !s.isFull() {
		s.notifyRoom()
	}
}

// isFull reports whether the server holds MaxBuffered bytes or more.
func (s *Server) isFull() bool { return s.buffered.Load() >= s.cfg.MaxBuffered }

// wouldExceed reports whether n more bytes would be more than MaxBuffered.
func (s *Server) wouldExceed(n int) bool { return s.buffered.Load()+int64(n) > s.cfg.MaxBuffered }

// awaitRoom makes the loop of c call LowWater when the server holds less than MaxBuffered. Under c.mu.
func (s *Server) awaitRoom(c *Conn) {
	s.room.mu.Lock()
	if s.room.conns == nil {
		s.room.conns = map[*Conn]struct{}{}
	}
	s.room.conns[c] = struct{}{}
	s.room.n.Store(int32(len(s.room.conns)))
	s.room.mu.Unlock()
	if !s.isFull() { // there may have been room before c was added
		s.notifyRoom()
	}
}

// leaveServerRoom removes c, which is closed, from roomWaiters.
func (c *loopConn) leaveServerRoom() {
	s := c.loop.srv
	if s.room.n.Load() == 0 {
		return
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	delete(s.room.conns, &c.Conn)
	s.room.n.Store(int32(len(s.room.conns)))
}

// notifyRoom makes the loops call serverHasRoom for the connections in roomWaiters. Any goroutine; the caller may hold a connection's lock.
func (s *Server) notifyRoom() {
	s.room.mu.Lock()
	waiting := s.room.conns
	s.room.conns = nil
	s.room.n.Store(0)
	s.room.mu.Unlock()
	byLoop := map[*loop][]*Conn{}
	for c := range waiting {
		byLoop[c.loop] = append(byLoop[c.loop], c)
	}
	for l, conns := range byLoop {
		l.do(func() { // a closed loop has no connection
			for _, c := range conns {
				c.loopPart().serverHasRoom()
			}
		})
	}
}

// serverHasRoom queues the connection, which calls LowWater. On the loop.
func (c *loopConn) serverHasRoom() {
	c.mu.Lock()
	if c.state == connClosed {
		c.mu.Unlock()
		return
	}
	c.sched |= schedRefused
	c.unlockAndQueue()
}

// overloaded returns the reason of a connection that is closed because the server holds MaxBuffered.
func (s *Server) overloaded() error {
	return fmt.Errorf("%w: %d bytes are buffered, the limit is %d", ErrOverload, s.buffered.Load(), s.cfg.MaxBuffered)
}
