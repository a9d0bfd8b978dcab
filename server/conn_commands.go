package server

// schedState is where a connection is between its loop and the goroutines that use it, with one mark. Under mu.
type schedState uint8

const (
	schedRunning schedState = 1 << iota // the loop is with it, and looks for output and commands before it leaves
	schedQueued                         // it is in the loop's queue
	schedRefused                        // a write was refused, and the handler is to be told when there is room
)

// String lists the marks.
func (s schedState) String() string {
	names := [...]string{"idle", "running", "queued", "running|queued", "refused", "running|refused", "queued|refused", "running|queued|refused"}
	return names[s]
}

// command is what a goroutine wants the loop to do. Under mu.
type command uint8

const (
	cmdOpen       command = 1 << iota // begin: a connection from another loop, from Dial or from AddConn
	cmdDone                           // the worker has given the input back
	cmdLook                           // look at what has changed: state, pauses
	cmdShutRead                       // stop reading for good
	cmdHandshaken                     // the TLS handshake has ended
	cmdResolved                       // Dial: the addresses are known
)

// mark adds commands for the loop, and reports whether the connection is to be put into the loop's queue by enqueue. Under mu.
func (c *Conn) mark(what command) (queue bool) {
	c.commands |= what
	queue = c.sched&(schedRunning|schedQueued) == 0
	if queue {
		c.sched |= schedQueued
	}
	return queue
}

// enqueue puts c into its loop's queue if that is needed, at most once until the loop serves it. The queue has no bound: it holds a connection once. When the
// loop has ended, c is served as lateWork says.
func (c *Conn) enqueue(needed bool) {
	if needed {
		p := c.loopPart()
		if c.loop.queue.Push(p) != nil { // the loop has ended
			c.loop.doLate(func() { c.loop.serve(p) })
		}
	}
}

// handOver gives a new connection to its loop. It reports whether the loop is going to end it: not if the loop is closed, as it may be
// where PickLoop has kept the caller past the end of a shutdown's context. Then the connection is still the caller's.
func (c *Conn) handOver(what command) bool {
	c.mu.Lock()
	c.mark(what)
	c.mu.Unlock()
	if c.loop.queue.Push(c.loopPart()) != nil {
		c.loop.count.Add(-1)
		return false
	}
	return true
}

// requeue has the loop come by again.
func (c *Conn) requeue() {
	c.mu.Lock()
	queue := c.mark(cmdLook)
	c.mu.Unlock()
	c.enqueue(queue)
}

// unlockAndPost adds a command, unlocks mu and queues the connection if that is needed.
func (c *Conn) unlockAndPost(what command) {
	queue := c.mark(what)
	c.mu.Unlock()
	c.enqueue(queue)
}

func (c *Conn) unlockAndQueue() {
	queue := c.mark(0)
	c.mu.Unlock()
	c.enqueue(queue)
}
