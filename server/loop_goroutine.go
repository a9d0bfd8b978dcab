package server

import (
	"fmt"
	"sync"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/goid"
)

// Blocking declares that the calling goroutine is about to block, or to compute for a long time. It is Reply.Blocking for functions that
// have no Reply, such as those of a client of another server: they call it before they wait. In a function of Dispatch, or of another
// RequestHandler, that runs on a loop of any server of the process, another goroutine runs the loop from then on. On a goroutine that runs
// no loop Blocking does nothing. DialContext calls it. It takes about half a microsecond.
//
// Errors: event.ErrOnLoop in a callback of a loop of any server of the process, where nothing may block; the loops of UseLoops are known
// to their own server only. Any goroutine.
func (s *Server) Blocking() error {
	if err := s.leaveLoop(); err != nil {
		return fmt.Errorf("server: block: %w", err)
	}
	return nil
}

// leaveLoop makes another goroutine the leader if a handler that runs on a loop calls it. In a callback it returns event.ErrOnLoop.
func (s *Server) leaveLoop() error {
	if ld := currentLeader(); ld != nil {
		switch {
		case ld.lost:
		case ld.word == 0:
			return event.ErrOnLoop
		default:
			ld.l.takeOver(ld.word, true) // fails if the leadership was taken already
		}
		return nil
	}
	if loops := s.programLoops.Load(); loops != nil {
		for _, l := range *loops {
			if l.ev.OnLoop() {
				return event.ErrOnLoop
			}
		}
	}
	return nil
}

// leaders has the leaders of the process, by the numbers of their goroutines. A loop that is run without leadership has a leader that never
// runs a handler.
var leaders = struct {
	mu   sync.RWMutex // guards byID
	byID map[uint64]*leader
}{byID: map[uint64]*leader{}}

// leading calls fn, in which the calling goroutine is ld. Its frame on the stack distinguishes the goroutine from those that run no loop.
//
//go:noinline
func leading(ld *leader, fn func()) {
	id := goid.Current()
	leaders.mu.Lock()
	leaders.byID[id] = ld
	leaders.mu.Unlock()
	defer func() {
		leaders.mu.Lock()
		delete(leaders.byID, id)
		leaders.mu.Unlock()
	}()
	fn()
}

// leadingFrames finds calls of leading.
var leadingFrames = goid.FramesOf(leading)

// currentLeader returns the leader that the calling goroutine is, or nil if it runs no loop.
func currentLeader() *leader {
	if !leadingFrames.OnStack() {
		return nil
	}
	id := goid.Current()
	leaders.mu.RLock()
	defer leaders.mu.RUnlock()
	return leaders.byID[id]
}
