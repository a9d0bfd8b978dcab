package server

import "strings"

// holds is the set of reasons that stop work on a connection: reading, giving input to the handler, or ending. Loop only.
type holds uint8

const (
	holdWorker   holds = 1 << iota // a request of ServeInput has the input: it waits, or runs on a worker or the loop's leader, or is deferred. Added by queueInput, removed by takeBack
	holdInput                      // the request with holdWorker needs no input now: it has not asked for any, or the loop has read up to the limit. Added by queueInput and holdAtLimit, removed by readForRequest, readAhead and takeBack
	holdRequests                   // Concurrent: requests are in progress; input is still read. Added by queueMessage, removed by takeBackMessages
	holdLimit                      // Concurrent: the limit of requests in progress is reached, or one waits for room in the workers' queue. Added by limitRequests, removed by endLimit
	holdPause                      // PauseRead, Detach or StartTLS. Added by prepareInput and finishFlush, added and removed by applyCommands; removed by beginUpgrade
	holdOutput                     // the output has reached HighWater. Added and removed by applyWaterMarks
	holdYield                      // ErrYield: the rest of the input is given to Data in the next turn. Added by process, removed by advance and beginClosing
	holdRate                       // the rate limit stops reading until a time. Added by readAllowance, removed by unthrottle
)

// The reasons that stop each kind of work.
const (
	holdsRead  = ^(holdRequests | holdWorker)                    // reading
	holdsInput = holdWorker | holdLimit | holdPause | holdOutput // giving input to the handler
	holdsEnd   = holdWorker | holdRequests                       // the end of a close in order: requests are in progress
)

var holdNames = [...]string{"worker", "input", "requests", "limit", "pause", "output", "yield", "rate"}

// String returns the names of the reasons.
func (h holds) String() string {
	var names []string
	for i, name := range holdNames {
		if h>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// has reports whether one of these reasons is in the set.
func (h holds) has(reasons holds) bool { return h&reasons != 0 }

// add adds reasons.
func (h *holds) add(reasons holds) { *h |= reasons }

// remove removes reasons.
func (h *holds) remove(reasons holds) { *h &^= reasons }

// set adds reasons if on is true, and removes them otherwise.
func (h *holds) set(reasons holds, on bool) {
	if on {
		h.add(reasons)
	} else {
		h.remove(reasons)
	}
}

// mayRead reports whether nothing holds reading.
func (c *loopConn) mayRead() bool { return c.mayReadAgain() && !c.draining.isRead() }

// mayReadAgain is mayRead, also after the last read of a shutdown.
func (c *loopConn) mayReadAgain() bool {
	return c.holds&holdsRead == 0 && !c.peerHalf.isEndRead() && c.life != lifeDialing && !c.life.isGone() && c.handshake() != handshakeFull
}

// mayGiveInput reports whether input may be given to the handler.
func (c *loopConn) mayGiveInput() bool { return c.holds&holdsInput == 0 && c.life.takesInput() }

// hasRequests reports whether requests of the connection are in progress.
func (c *loopConn) hasRequests() bool { return c.holds.has(holdsEnd) }

// isQuiescent reports whether the connection needs no work of the loop until its next event.
func (c *loopConn) isQuiescent() bool {
	return c.life == lifeOpen && c.holds&^(holdWorker|holdInput) == 0 && c.writing == writeIdle && c.layers == 0 && c.peerHalf == peerSends && c.draining == drainNone
}
