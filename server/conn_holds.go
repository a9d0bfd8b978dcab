package server

import "strings"

// holds is the set of reasons that stop work on a connection: reading, giving input to the handler, or ending. Each has one owner, which
// adds and removes it. Loop only.
type holds uint8

const (
	holdWorker   holds = 1 << iota // a worker has the input, or is to have it. Owner: the request
	holdRequests                   // Concurrent: requests are in work; reading goes on. Owner: the requests
	holdLimit                      // Concurrent: as many requests are in work as may be. Owner: the requests
	holdPause                      // PauseRead or Detach. Owner: the callers of PauseRead, see pauses
	holdOutput                     // the output is above the high-water mark. Owner: applyMarks
	holdYield                      // the handler wants the rest of its input in the next turn. Owner: process
	holdRate                       // the rate limit holds reading until a time. Owner: the rate limit
	holdLastRead                   // Shutdown: the last read was made. Owner: drainState
)

// The reasons that stop each kind of work.
const (
	holdsRead  = ^holdRequests                                   // reading
	holdsInput = holdWorker | holdLimit | holdPause | holdOutput // giving input to the handler
	holdsEnd   = holdWorker | holdRequests                       // an end in order: requests are in work
)

var holdNames = [...]string{"worker", "requests", "limit", "pause", "output", "yield", "rate", "last read"}

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

// set adds reasons or removes them.
func (h *holds) set(reasons holds, on bool) {
	if on {
		h.add(reasons)
	} else {
		h.remove(reasons)
	}
}

// mayRead reports whether nothing holds reading.
func (c *loopConn) mayRead() bool { return c.mayReadBut(0) }

// mayReadBut is mayRead without the reasons in ignored.
func (c *loopConn) mayReadBut(ignored holds) bool {
	return c.holds&holdsRead&^ignored == 0 && !c.peerHalf.isEndRead() && c.life != lifeDialing && !c.life.isGone() && c.handshake() != handshakeFull
}

// mayGiveInput reports whether input may be given to the handler.
func (c *loopConn) mayGiveInput() bool { return c.holds&holdsInput == 0 && c.life.takesInput() }

// inWork reports whether requests of the connection are in work.
func (c *loopConn) inWork() bool { return c.holds.has(holdsEnd) }
