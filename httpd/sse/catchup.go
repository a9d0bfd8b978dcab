package sse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/httpd/internal/callback"
	"github.com/evmq/evmq/server"
)

// A stream whose client has missed more events than may wait for it gets them in pieces: each follows when the kernel has the one before. It
// becomes a member when it has all of them, so that the next event does not find its output full. Until then it is in Group.behind.

// maxReplayed is the number of bytes of Replay above which a stream ends, and its client continues by a reconnect.
const maxReplayed = DefaultHistoryBytes

// errOverrun is the reason of a stream that has left because its client reads more slowly than events come.
var errOverrun = fmt.Errorf("%w: the history does not have the next event of the stream any more", server.ErrFull)

// piece returns the number of bytes that a stream may have to send when it becomes a member.
func (g *Group) piece() int {
	if g.cfg.MaxPending <= 0 {
		return DefaultMaxPending / 2
	}
	return g.cfg.MaxPending / 2
}

// follow writes text, and as many events of the history from number on as a piece has room for, to p. If there is nothing more to write and p has
// room for the events that are sent next, p becomes a member. Otherwise follow is called again when the kernel has the piece. Under mu.
func (g *Group) follow(p *httpd.Parked, text []byte, number int) error {
	entries, limit := g.history.from(number), g.piece()
	n := 0
	for ; n < len(entries) && (len(text) == 0 || len(text)+len(entries[n].text) <= limit); n++ {
		text = append(text, entries[n].text...)
	}
	if len(text) > 0 {
		if _, err := p.Write(text); err != nil {
			return err
		}
	}
	if n == len(entries) && len(text) <= limit {
		if err := g.members.Add(p); err != nil {
			return err
		}
		g.startTimer()
		return nil
	}
	if g.behind == nil {
		g.behind = make(map[*httpd.Parked]int)
	}
	g.behind[p] = number + n
	err := p.Notify(func(err error) { g.followOn(p, err) })
	if err != nil {
		delete(g.behind, p)
	}
	return err
}

// followOn is called when the kernel has what follow has written, or will not have it.
func (g *Group) followOn(p *httpd.Parked, err error) {
	g.mu.Lock()
	number, isBehind := g.behind[p]
	delete(g.behind, p)
	switch {
	case !isBehind: // it has left
		g.mu.Unlock()
		return
	case err != nil:
	case number >= g.history.first:
		err = g.follow(p, nil, number)
	case g.cfg.KeepSlow:
		err = g.follow(p, nil, g.history.first)
	default:
		err = errOverrun
	}
	g.mu.Unlock()
	if err != nil {
		g.leave(p, err)
	}
}

// gone is called when the client of p has gone, or Shutdown has begun. Members are closed by the httpd.Group.
func (g *Group) gone(p *httpd.Parked, cause error) {
	g.mu.Lock()
	_, isBehind := g.behind[p]
	delete(g.behind, p)
	g.mu.Unlock()
	if isBehind {
		g.leave(p, cause)
	}
}

// leave closes a stream that was removed from behind. The events that it has sent are without a gap.
func (g *Group) leave(p *httpd.Parked, reason error) {
	_ = p.Close() // fails if it has ended
	if errors.Is(reason, httpd.ErrEnded) {
		reason = context.Canceled
	}
	g.notifyLeft(p, reason)
}

// closeBehind closes the streams that are behind.
func (g *Group) closeBehind() {
	g.mu.Lock()
	behind := slices.Collect(maps.Keys(g.behind))
	g.behind = nil
	g.mu.Unlock()
	callback.Each(behind, func(p *httpd.Parked) { g.leave(p, context.Canceled) })
}
