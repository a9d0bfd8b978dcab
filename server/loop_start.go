package server

import (
	"errors"
	"fmt"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/msgqueue"
)

// newLoop makes a loop, or takes the one of UseLoops, and adds the server's callbacks to it.
func (s *Server) newLoop(index int) (*loop, error) {
	ev, err := s.newEventLoop(index)
	if err != nil {
		return nil, err
	}
	l := &loop{srv: s, index: index, ev: ev, buf: takeLarge(), dialing: map[*loopConn]struct{}{}, refusals: map[*refusal]struct{}{},
		closedBusy: map[*loopConn]struct{}{}, gone: make(chan struct{}), late: lateWork{busy: true}}
	l.callback = l.ready
	l.queue, err = msgqueue.New(ev, l.serve, &msgqueue.Config{Bound: msgqueue.Unlimited, Budget: 1024})
	if err == nil {
		l.tasks, err = msgqueue.New(ev, l.runTask, &msgqueue.Config{Bound: msgqueue.Unlimited})
	}
	if err == nil {
		l.makeQueues()
		l.roomEvent, err = ev.NewEvent(-1, event.Persist, l.roomReady)
	}
	if err == nil {
		err = l.waits.init(l, s.cfg.QueueTimeout)
	}
	if err == nil && len(s.cfg.UseLoops) == 0 {
		l.owner, err = ev.Own()
	}
	l.lead.labels = leaderLabels(index)
	if l.owner != nil {
		if _, unsupported := l.owner.Runner(); unsupported == nil {
			l.lead.init(valueOf(s.cfg.LoopConfig).SlowCallback)
		}
	}
	if err == nil {
		err = l.watch()
	}
	if err != nil {
		_ = l.discard() // err is returned
		if len(s.cfg.UseLoops) == 0 {
			_ = ev.Close()
		}
		return nil, fmt.Errorf("loop %d: %w", index, l.closedError(err))
	}
	return l, nil
}

// watch makes the event loop call endTurn and closedByOwner. One of UseLoops may run, or be closed, at this time, and calls them from then on,
// so that all that they use has been made before. closedByOwner does not use onClose.
func (l *loop) watch() (err error) {
	if l.turnEnd, err = l.ev.OnTurnEnd(l.endTurn); err == nil {
		l.onClose, err = l.ev.OnClose(l.closedByOwner)
	}
	return err
}

// discard closes a loop that has not run, or removes the server from one of UseLoops.
func (l *loop) discard() error {
	if l.owner != nil {
		return l.owner.Close()
	}
	if l.queue != nil {
		l.queue.Close()
	}
	if l.tasks != nil {
		l.tasks.Close()
	}
	for _, w := range []*event.Watcher{l.turnEnd, l.onClose} {
		if w != nil {
			w.Stop()
		}
	}
	return nil
}

// newEventLoop makes the event loop with this number, or returns the one of UseLoops.
func (s *Server) newEventLoop(index int) (*event.Loop, error) {
	if len(s.cfg.UseLoops) > 0 {
		return s.cfg.UseLoops[index], nil
	}
	cfg := valueOf(s.cfg.LoopConfig)
	cfg.Logger = s.loopLogger()
	ev, err := event.NewLoop(&cfg)
	if errors.Is(err, event.ErrInvalid) {
		return nil, fmt.Errorf("%w: LoopConfig: %w", ErrInvalid, err)
	}
	if err != nil {
		return nil, fmt.Errorf("loop %d: %w", index, err)
	}
	return ev, nil
}
