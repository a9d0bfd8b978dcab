package server

import (
	"errors"
	"fmt"

	"github.com/evmq/evmq/event"
)

// When the server is shut down, it closes its own loops, and removes itself from the loops of UseLoops, which continue without it. The
// program may also close a loop of UseLoops while the server runs. In all these cases end is called.

// close closes the loop, or removes the server from one of UseLoops, waits for that, and sends the result to closed.
func (l *loop) close(closed chan<- error) {
	var err error
	defer func() { // also when a function that was posted to the loop calls runtime.Goexit
		<-l.gone
		closed <- err
	}()
	if l.owner == nil {
		l.doFully(l.detachServer, func() {})
	} else {
		if l.isLed() {
			l.stopLeading()
		}
		err = l.owner.Close()
	}
}

// detachServer removes the server from a loop of UseLoops. On the loop.
func (l *loop) detachServer() {
	defer l.onClose.Stop() // also when a callback calls runtime.Goexit
	l.end(ErrServerClosed)
}

// closedByOwner is the loop's OnClose function: the server, or the program with UseLoops, closes the loop.
func (l *loop) closedByOwner() {
	l.assertInLoop("the close of a loop")
	if l.owner == nil {
		l.end(fmt.Errorf("%w: %w", ErrLoopClosed, event.ErrClosed))
	} else {
		l.end(ErrServerClosed)
	}
}

// end ends the connections, listeners and sockets of the server on the loop. Further calls do nothing. On the loop, or on the goroutine
// that closes it.
func (l *loop) end(reason error) {
	if l.endReason != nil {
		return
	}
	l.endReason = reason
	l.ended.Store(true)
	l.leftTasks = l.tasks.Close()
	l.leftConns = append(l.leftConns, l.queue.Close()...)
	_ = l.roomEvent.Finalize(func(*event.Event) {}) // the loop may be closed
	l.waits.stop()
	l.turnEnd.Stop()
	l.endRest()
}

// endRest carries out the remaining tasks and commands, and ends the connections, listeners and sockets of the loop. If a callback calls
// runtime.Goexit, the next call continues after that callback.
func (l *loop) endRest() {
	complete := false
	defer func() {
		if !complete {
			l.endRest()
		}
	}()
	l.runLeft()
	if errors.Is(l.endReason, ErrLoopClosed) {
		l.endSockets()
	}
	l.abortConns(l.endReason)
	for r := range l.refusals {
		r.close()
	}
	complete = true
	l.runLate()
}

// runLeft carries out the tasks and commands that were left when the loop ended.
func (l *loop) runLeft() {
	if l.current != nil {
		l.abortCurrent()
	}
	for len(l.leftTasks) > 0 {
		fn := l.leftTasks[0]
		l.leftTasks = l.leftTasks[1:]
		fn()
	}
	l.aborting = true
	for len(l.leftConns) > 0 {
		c := l.leftConns[0]
		l.leftConns = l.leftConns[1:]
		c.mu.Lock()
		commands := c.commands
		c.startRunning()
		c.commands, c.sched = 0, schedRunning
		c.mu.Unlock()
		l.setCurrent(c)
		if commands&cmdOpen == 0 { // otherwise begin fails, because aborting is set
			c.fail(l.endReason)
		}
		c.applyCommands(commands)
		l.clearCurrent()
	}
}

// endSockets ends the listeners and the sockets for datagrams that the loop serves.
func (l *loop) endSockets() {
	for _, ln := range l.srv.Listeners() {
		for _, a := range ln.accepts {
			if a.loop == l {
				ln.stopWith(fmt.Errorf("listener on %v: %w", ln.addr, l.endReason))
			}
		}
	}
	for _, pc := range l.srv.PacketConns() {
		for _, k := range pc.sockets {
			if k.loop != l {
				continue
			}
			if err := pc.closeWith(l.endReason); err != nil {
				l.srv.cfg.Logger.Warn("server: close packet connection", "addr", pc.addr.String(), "err", err)
			}
		}
	}
}
