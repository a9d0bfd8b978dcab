package event

import (
	"context"
	"fmt"
)

// An Owner has the exclusive right to run and to end a loop. A package that lets its users add timers and posts to its loops keeps
// the Owner, so that users cannot stop the loops.
type Owner struct{ loop *Loop }

// Own returns the Owner of the loop. From then on Run and its variants, Exit, Break and Close of the Loop do nothing and return
// ErrOwned; the Owner's methods run and close it. Errors: ErrOwned if it has an owner already, ErrRunning, ErrClosed. Any
// goroutine.
func (l *Loop) Own() (*Owner, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	switch {
	case l.owned:
		err = ErrOwned
	case l.state != loopOpen:
		err = ErrClosed
	case l.runner != 0:
		err = ErrRunning
	default:
		l.owned, l.breaking, l.exiting = true, false, false
		l.timers.remove(l.exitEvent)
		l.updateInterrupt()
		return &Owner{l}, nil
	}
	return nil, fmt.Errorf("own loop: %w", err)
}

// RunForever is Loop.RunForever. May block; not in a callback.
func (o *Owner) RunForever(ctx context.Context) error { return o.loop.run(ctx, theOwner, runForever) }

// Close is Loop.Close. May block; not in a callback.
func (o *Owner) Close() error { return o.loop.closeAs(theOwner) }

// A caller is the party on whose behalf a loop is run or closed: any caller, or the owner.
type caller uint8

const (
	anyone caller = iota
	theOwner
)

// permits reports whether c may run and close the loop. Under l.mu, in the critical section that begins to do so, since another
// goroutine may own the loop at any time.
func (l *Loop) permits(c caller) bool { return c == theOwner || !l.owned }
