package server

import (
	"fmt"
	"reflect"
	"slices"
)

// PauseRead keeps Data from being called, and stops reading, until ResumeRead is called with the same owner. Several owners, such as a
// middleware and the application, pause independently of each other: reading resumes when each owner that has paused has called ResumeRead.
// A second PauseRead of an owner does nothing. An owner is any value that == can compare, including nil; with another value the call
// panics. A package should use a value of an unexported type, as for the keys of a context. A call of Data that runs is not interrupted.
// During a pause the end of the peer's half is not noticed; a reset is noticed, and ends the connection. A connection that is being closed
// does not pause. Any goroutine.
func (c *Conn) PauseRead(owner any) {
	checkOwner(owner)
	c.mu.Lock()
	x := c.extra()
	if slices.Contains(x.pauses, owner) {
		c.mu.Unlock()
		return
	}
	x.pauses = append(x.pauses, owner)
	c.unlockAndCheck()
}

// ResumeRead ends the PauseRead of the same owner. Without one it does nothing. Any goroutine.
func (c *Conn) ResumeRead(owner any) {
	checkOwner(owner)
	c.mu.Lock()
	if c.ext == nil || !slices.Contains(c.ext.pauses, owner) {
		c.mu.Unlock()
		return
	}
	i := slices.Index(c.ext.pauses, owner)
	if c.ext.pauses = slices.Delete(c.ext.pauses, i, i+1); len(c.ext.pauses) == 0 {
		c.ext.pauses = nil // see dropExt
	}
	c.unlockAndCheck()
}

// checkOwner panics if owner cannot be compared. It is called before mu is locked, since a panic would leave mu locked.
func checkOwner(owner any) {
	if owner != nil && !reflect.ValueOf(owner).Comparable() {
		panic(fmt.Sprintf("server: the owner of a pause is a %T, which cannot be compared", owner))
	}
}

// isPaused reports whether reading has to pause. A handshake is not paused. Under mu, on the loop.
func (c *loopConn) isPaused() bool {
	return c.pauseRequested() && c.state < connClosing && !c.isSettingUp()
}

// pauseRequested reports whether PauseRead, Detach or StartTLS keeps input from the handler. Under mu.
func (c *Conn) pauseRequested() bool {
	return c.ext != nil && len(c.ext.pauses) > 0 || c.leavesServing()
}

// leavesServing reports whether a Detach or StartTLS waits for the requests in progress. Under mu.
func (c *Conn) leavesServing() bool {
	return c.ext != nil && (c.ext.detach != nil || c.ext.upgrade != nil)
}
