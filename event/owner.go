package event

import (
	"context"
	"fmt"
)

// An Owner is the right to run a loop and to end it. A package that gives its loops to users, for timers and posts beside its own
// work, keeps the Owner, so that a user cannot stop what the package depends on.
type Owner struct{ loop *Loop }

// Own makes the caller the loop's owner. From now on Run and its variants, Exit, Break and Close of the loop return ErrOwned and
// do nothing; the Owner's methods run and close it. Errors: ErrOwned if it has an owner already, ErrRunning, ErrClosed. Any
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
	case l.owner != 0:
		err = ErrRunning
	default:
		l.owned, l.brk, l.exit = true, false, false
		l.timers.remove(l.exitEvent)
		l.setInterrupt()
		return &Owner{l}, nil
	}
	return nil, fmt.Errorf("own loop: %w", err)
}

// RunForever is Loop.RunForever. May block; not in a callback.
func (o *Owner) RunForever(ctx context.Context) error { return o.loop.runAs(ctx, theOwner, runForever) }

// Close is Loop.Close. May block; not in a callback.
func (o *Owner) Close() error { return o.loop.closeAs(theOwner) }

// A caller is the right by which a loop is run or closed.
type caller uint8

const (
	anyone caller = iota
	theOwner
)

// permits reports whether c may run and close the loop. Under l.mu, in the critical section that begins to do so, since another
// goroutine may own the loop at any time.
func (l *Loop) permits(c caller) bool { return c == theOwner || !l.owned }
