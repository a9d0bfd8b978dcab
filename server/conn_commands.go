package server

// schedState says whether the loop works on a connection and whether the connection is in the loop's queue. It has one more flag, for
// refused writes. Under mu.
type schedState uint8

const (
	schedRunning schedState = 1 << iota // the loop works on it, and checks for output and commands at the end
	schedQueued                         // it is in the loop's queue
	schedRefused                        // a write was refused; LowWater will be called when there is room
)

// String lists the flags.
func (s schedState) String() string {
	names := [...]string{"idle", "running", "queued", "running|queued", "refused", "running|refused", "queued|refused", "running|queued|refused"}
	return names[s]
}

// command is a set of requests to the loop. Under mu.
type command uint8

const (
	cmdOpen       command = 1 << iota // begin a connection from another loop, from Dial or from AddConn
	cmdDone                           // a request has ended: ServeInput's input is given back, or newlyEnded has counted a message of Serve
	cmdCheck                          // state, pauses or other settings have changed
	cmdCloseRead                      // CloseRead: discard input from now on
	cmdHandshaken                     // the TLS handshake has ended
	cmdResolved                       // Dial: the addresses are known
	cmdInput                          // the request in progress waits for input, or has room for more
)

// mark adds commands for the loop, and reports whether enqueue has to put the connection into the loop's queue. Under mu.
func (c *Conn) mark(what command) (queue bool) {
	c.commands |= what
	queue = c.sched&(schedRunning|schedQueued) == 0
	if queue {
		c.sched |= schedQueued
	}
	return queue
}

// enqueue puts c into its loop's queue if needed, the result of mark, is true. A connection is in the queue at most once, so the queue
// needs no limit. When the loop has ended, c is served by doLate.
func (c *Conn) enqueue(needed bool) {
	if needed {
		p := c.loopPart()
		if c.loop.queue.Push(p) != nil { // the loop has ended
			c.loop.doLate(func() { c.loop.serve(p) })
		}
	}
}

// giveToLoop gives a new connection to its loop. It reports whether the loop accepts it. A loop that is closed does not, which happens if
// PickLoop has not returned before the end of a shutdown's context; then the connection still belongs to the caller.
func (c *loopConn) giveToLoop(what command) bool {
	c.mu.Lock()
	c.mark(what)
	c.mu.Unlock()
	if c.loop.queue.Push(c) != nil {
		c.loop.count.Add(-1)
		return false
	}
	return true
}

// requeue makes the loop serve the connection again.
func (c *Conn) requeue() {
	c.mu.Lock()
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
}

// unlockAndCheck adds cmdCheck, unlocks mu and queues the connection if that is needed.
func (c *Conn) unlockAndCheck() {
	queue := c.mark(cmdCheck)
	c.mu.Unlock()
	c.enqueue(queue)
}

// unlockAndQueue is unlockAndCheck without a command: the connection has more output.
func (c *Conn) unlockAndQueue() {
	queue := c.mark(0)
	c.mu.Unlock()
	c.enqueue(queue)
}
